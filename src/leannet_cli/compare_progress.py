"""How far a comparison is: two bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.progress import TaskID

from leannet_cli.console import ProgressOnErrorStream
from leannet_cli.numbers import duration_text

if TYPE_CHECKING:
    from leannet.report import RunRecord
    from leannet.training import EpochRecord, PreparedData

__all__ = ["CompareProgress"]


class CompareProgress(ProgressOnErrorStream):
    """Progress of `leannet.report.compare`, on the error stream.

    One bar counts the trainings of the sweep with the time left, one the steps of the training with images/s and its
    time left. Finished epochs (off a terminal) and finished networks are lines.
    """

    def __init__(self) -> None:
        super().__init__()
        self.finished = 0
        self.total = 0
        self._sweep: TaskID | None = None
        self._current: TaskID | None = None
        self._epochs = 1
        self._steps = 1
        self._sweep_start = self._run_start = time.perf_counter()
        self._steps_done_in_sweep = 0.0

    def reading(self, done: int, total: int) -> None:
        """Move the bar of the images that are decoded."""
        self._show("reading images", done, total, "")

    def data_ready(self, data: PreparedData) -> None:
        """Say what the data are."""
        name, _ = data.source.held_out
        self.console.print(
            f"{data.source.name}: {len(data.train):,} images to train, {len(data.held_out):,} held out ({name}), "
            f"{data.num_classes} classes, {data.recipe.img_size} px"
        )
        for note in data.notes:
            self.console.print(f"note: {note}")
        self._epochs = data.recipe.epochs
        self._sweep_start = time.perf_counter()

    def run_started(self, number: int, total: int, network: str, seed: int, steps: int) -> None:
        """Begin the bar of a training."""
        self.total, self._steps = total, steps
        self._label = f"{network}, seed {seed}"
        self._run_start = time.perf_counter()
        self._show_sweep(0.0)
        self.console.print(f"[{number}/{total}] {self._label}")

    def batch_done(self, epoch: int, step: int, images: int) -> None:
        """Move both bars."""
        if self.bars.disable:
            return
        now = time.perf_counter()
        done = (epoch - 1) * self._steps + step
        if step == 1:
            self._epoch_start, self._first_images = now, images
        elapsed = now - self._epoch_start
        rate = (images - self._first_images) / elapsed if elapsed > 0 else 0.0
        left = (now - self._run_start) / done * (self._steps * self._epochs - done)
        note = f"epoch {epoch}/{self._epochs}, {rate:.0f} images/s, {duration_text(left)} left"
        self._show(self._label, done, self._steps * self._epochs, note)
        self._show_sweep(done / (self._steps * self._epochs))

    def epoch_done(self, record: EpochRecord) -> None:
        """Print a line where there are no bars."""
        if self.bars.disable:
            left = (time.perf_counter() - self._run_start) / record.epoch * (self._epochs - record.epoch)
            self.console.print(
                f"  epoch {record.epoch}/{self._epochs}: loss {record.loss:.3f}, "
                f"{record.images_per_second:.0f} images/s, {duration_text(left)} left"
            )

    def run_finished(self, number: int, total: int, record: RunRecord, kept: bool) -> None:
        """Print the result of a training."""
        self.finished, self.total = number, total
        how = "kept from before" if kept else f"trained in {duration_text(record.train_seconds)}"
        self.console.print(f"  {record.network}, seed {record.seed}: top-1 {record.top1:.2f} %, {how}")
        if not kept:
            self._steps_done_in_sweep += 1
        self._show_sweep(0.0)

    def measuring_latency(self, done: int, total: int) -> None:
        """Move the bar of the latency measurement."""
        self._show("measuring latency", done, total, "")

    def warning(self, text: str) -> None:
        """Print what went wrong beside the results."""
        self.console.print(f"warning: {text}")

    def _show_sweep(self, share_of_current: float) -> None:
        done = self._steps_done_in_sweep + share_of_current
        remaining = self.total - self.finished - share_of_current
        elapsed = time.perf_counter() - self._sweep_start
        note = f"{duration_text(elapsed / done * remaining)} left" if done > 0 else ""
        if self._sweep is None:
            self._sweep = self.bars.add_task("trainings", total=self.total, note=note)
        self.bars.update(self._sweep, completed=self.finished, total=self.total, note=note)

    def _show(self, label: str, done: int, total: int, note: str) -> None:
        if self._current is None:
            self._current = self.bars.add_task(label, total=total, note=note)
        self.bars.update(self._current, description=label, completed=done, total=total, note=note)
