"""A saved network judged on a labelled split, alone or beside another one."""

from leannet.report.evaluation.network import SavedNetwork, load_saved_network
from leannet.report.evaluation.predictions import Predictions
from leannet.report.evaluation.request import Evaluation, recorded_data, run_name
from leannet.report.evaluation.result import Comparison, EvaluationResult
from leannet.report.evaluation.run import EvaluationObserver, run_evaluation

__all__ = [
    "Comparison",
    "Evaluation",
    "EvaluationObserver",
    "EvaluationResult",
    "Predictions",
    "SavedNetwork",
    "load_saved_network",
    "recorded_data",
    "run_evaluation",
    "run_name",
]
