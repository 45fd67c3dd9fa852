"""Runs: one training with its folder, which can be stopped and resumed at any moment."""

from leannet.training.runs.records import EpochRow, Judgement, judge, write_rows
from leannet.training.runs.run import RunObserver, train
from leannet.training.runs.settings import RunSettings, new_run_folder, newest_run, read_settings
from leannet.training.runs.stopping import Stopped, StopSignals

__all__ = [
    "EpochRow",
    "Judgement",
    "RunObserver",
    "RunSettings",
    "StopSignals",
    "Stopped",
    "judge",
    "new_run_folder",
    "newest_run",
    "read_settings",
    "train",
    "write_rows",
]
