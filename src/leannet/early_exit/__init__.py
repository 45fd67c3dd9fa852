"""Networks that images leave early: policies, staged inference, calibration."""

from leannet.early_exit.answers import ExitAnswers, collect_answers
from leannet.early_exit.calibration import Calibration, Goal, calibrate, check_rule
from leannet.early_exit.curve import curve_table, draw_curve
from leannet.early_exit.policy import RULES, ExitPolicy, apply_policy, sureness
from leannet.early_exit.saved import calibrated_on, read_policy, write_policy
from leannet.early_exit.staged import Exited, StagedClassifier, check_exits
from leannet.early_exit.summary import ExitRow, ExitSummary, answers_of_policy, summarise_exits
from leannet.early_exit.timing import measure_exit_latency
from leannet.early_exit.trade_off import (
    TradeOff,
    choose_by_budget,
    choose_by_drop,
    fit_temperatures,
    trade_offs,
)
from leannet.models import attach_exits

__all__ = [
    "RULES",
    "Calibration",
    "ExitAnswers",
    "ExitPolicy",
    "ExitRow",
    "ExitSummary",
    "Exited",
    "Goal",
    "StagedClassifier",
    "TradeOff",
    "answers_of_policy",
    "apply_policy",
    "attach_exits",
    "calibrate",
    "calibrated_on",
    "check_exits",
    "check_rule",
    "choose_by_budget",
    "choose_by_drop",
    "collect_answers",
    "curve_table",
    "draw_curve",
    "fit_temperatures",
    "measure_exit_latency",
    "read_policy",
    "summarise_exits",
    "sureness",
    "trade_offs",
    "write_policy",
]
