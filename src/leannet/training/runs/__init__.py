"""Runs: one training with its folder, which can be stopped and resumed at any moment."""

from leannet.training.runs.judging import Judgement, judge, judge_network
from leannet.training.runs.records import EpochRow, write_rows
from leannet.training.runs.run import RunObserver, train
from leannet.training.runs.run_data import is_run_data, open_run_source, recorded_data, recorded_data_are_here
from leannet.training.runs.settings import RunSettings, new_run_folder, newest_run, read_settings
from leannet.training.runs.stopping import Stopped, StopSignals

__all__ = [
    "EpochRow",
    "Judgement",
    "RunObserver",
    "RunSettings",
    "StopSignals",
    "Stopped",
    "is_run_data",
    "judge",
    "judge_network",
    "new_run_folder",
    "newest_run",
    "open_run_source",
    "read_settings",
    "recorded_data",
    "recorded_data_are_here",
    "train",
    "write_rows",
]
