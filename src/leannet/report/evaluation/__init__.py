"""A saved network judged on a labelled split, alone or beside another one."""

from leannet.report.evaluation.request import Evaluation
from leannet.report.evaluation.result import Comparison, EvaluationResult
from leannet.report.evaluation.run import EvaluationObserver, run_evaluation

__all__ = [
    "Comparison",
    "Evaluation",
    "EvaluationObserver",
    "EvaluationResult",
    "run_evaluation",
]
