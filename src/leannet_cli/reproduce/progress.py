"""How far a reproduction is: a line for each training, and what a training says of itself."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from leannet_cli.console import ProgressOnErrorStream
from leannet_cli.train.progress import TrainProgress

if TYPE_CHECKING:
    from leannet.papers.tables.plan import Step
    from leannet.training import PreparedData

__all__ = ["ReproduceProgress"]


class _OfOne(TrainProgress):
    """The progress of one of many trainings on the same images: what was found in them is not told each time."""

    def data_ready(self, data: PreparedData) -> None:
        """Say nothing."""


class ReproduceProgress(ProgressOnErrorStream):
    """Progress of `leannet.papers.tables.run_trainings`, on the error stream."""

    def reading(self, done: int, total: int) -> None:
        """Say nothing: small pictures are read in seconds, and each training shows its own reading."""

    @contextlib.contextmanager
    def training(self, number: int, total: int, step: Step) -> Iterator[TrainProgress]:
        """Name the training, and show its own progress meanwhile."""
        self.bars.stop()
        self.console.print(f"[{number}/{total}] {step.network}, seed {step.seed}")
        with _OfOne(step.folder) as progress:
            yield progress

    def kept(self, step: Step) -> None:
        """Name the record that is kept."""
        self.console.print(f"{step.network}, seed {step.seed}: kept from before")
