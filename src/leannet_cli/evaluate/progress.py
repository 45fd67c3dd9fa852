"""How far an evaluation is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from leannet.training import run_name
from leannet_cli.console import ProgressOnErrorStream
from leannet_cli.numbers import duration_text

if TYPE_CHECKING:
    from leannet.data import Source
    from leannet.training import SavedNetwork

__all__ = ["EvaluateProgress"]


class EvaluateProgress(ProgressOnErrorStream):
    """Progress of `leannet.report.evaluation.run_evaluation`, on the error stream."""

    def __init__(self) -> None:
        super().__init__()
        self._bar = self.bars.add_task("", note="", visible=False)
        self._start = time.perf_counter()

    def data_ready(self, network: SavedNetwork, source: Source, split: str, notes: Sequence[str]) -> None:
        """Say what is judged on what."""
        images, classes = len(source.splits[split]), len(source.class_names)
        self.console.print(
            f"{source.name}: {images:,} images of the {split} part, {classes} classes, "
            f"{network.preprocessing.img_size} px"
        )
        for note in notes:
            self.console.print(f"note: {note}")

    def reading(self, done: int, total: int) -> None:
        """Move the bar of the images that are decoded."""
        self._show("reading images", done, total, "")

    def judging(self, network: SavedNetwork, total: int, done: int) -> None:
        """Move the bar of the images that are answered; print a line at the end where there is none."""
        now = time.perf_counter()
        if done == 0:
            self._start = now
        seconds = now - self._start
        rate = done / seconds if seconds > 0 else 0.0
        left = f", {duration_text((total - done) / rate)} left" if rate else ""
        self._show(f"judging {run_name(network.folder)}", done, total, f"{rate:.0f} images/s{left}" if done else "")
        if done == total and self.bars.disable:
            self.console.print(f"  {network.folder}: {total:,} images judged, {rate:.0f} images/s")

    def _show(self, label: str, done: int, total: int, note: str) -> None:
        self.bars.update(self._bar, description=label, completed=done, total=total, note=note, visible=True)
