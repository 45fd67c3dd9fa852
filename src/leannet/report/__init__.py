"""Ours beside each other: sweeps, tables, files."""

from leannet.report.compare import Observer, Sweep, compare, settings_of
from leannet.report.runs import RunRecord
from leannet.report.table import PARETO_RULE, ComparisonRow, comparison_rows

__all__ = [
    "PARETO_RULE",
    "ComparisonRow",
    "Observer",
    "RunRecord",
    "Sweep",
    "compare",
    "comparison_rows",
    "settings_of",
]
