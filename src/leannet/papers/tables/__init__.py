"""The tables of a paper made again: what is missing is trained and timed, and ours stands beside the print."""

from leannet.papers.tables.budget import Budget, budget_names, load_budget
from leannet.papers.tables.evidence import Evidence, read_evidence
from leannet.papers.tables.experiment import Experiment, Timing, find_tables, load_experiment
from leannet.papers.tables.files import write_tables
from leannet.papers.tables.plan import Plan, make_plan
from leannet.papers.tables.rows import TableRow, make_rows
from leannet.papers.tables.timing import run_timings
from leannet.papers.tables.training import TrainingObserver, run_trainings
from leannet.papers.tables.verdicts import judge_claims

__all__ = [
    "Budget",
    "Evidence",
    "Experiment",
    "Plan",
    "TableRow",
    "Timing",
    "TrainingObserver",
    "budget_names",
    "find_tables",
    "judge_claims",
    "load_budget",
    "load_experiment",
    "make_plan",
    "make_rows",
    "read_evidence",
    "run_timings",
    "run_trainings",
    "write_tables",
]
