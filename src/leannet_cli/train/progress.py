"""How far a training is: a bar on a terminal, a line for each epoch everywhere."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.progress import TaskID

from leannet_cli.console import LINE_EVERY, ProgressOnErrorStream, make_console
from leannet_cli.numbers import duration_text
from leannet_cli.train.results import print_scan

if TYPE_CHECKING:
    from leannet.training import Position, PreparedData, Trainer
    from leannet.training.runs import EpochRow

__all__ = ["TrainProgress"]


class TrainProgress(ProgressOnErrorStream):
    """Progress of `leannet.training.runs.train`, on the error stream; only the first process speaks.

    Args:
        folder: The run folder, for what is said when the run stops.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.speaks = os.environ.get("RANK", "0") == "0"
        super().__init__(self.speaks)
        self._task: TaskID | None = None
        self._begun = False

    def reading(self, done: int, total: int) -> None:
        """Move the bar of the images that are decoded."""
        self._show("reading images", done, total, "")

    def data_ready(self, data: PreparedData) -> None:
        """Show what was found, before anything else is said."""
        self.bars.stop()
        print_scan(make_console(), data.scan.rows)
        for note in data.notes:
            self.console.print(f"note: {note}")
        self.bars.start()

    def started(self, trainer: Trainer, notes: tuple[str, ...]) -> None:
        """Say what is trained with what, and from where on."""
        recipe, processes = trainer.recipe, trainer.accelerator.num_processes
        for note in notes:
            self.console.print(f"note: {note}")
        total = recipe.batch_size * processes * recipe.grad_accum_steps
        together = f" x {processes} processes" * (processes > 1)
        together += f" x {recipe.grad_accum_steps} steps" * (recipe.grad_accum_steps > 1)
        batch = f"batch {recipe.batch_size}{together} = {total}" if together else f"batch {total}"
        self.console.print(
            f"{recipe.img_size} px, {batch}, {recipe.opt} at {recipe.lr:g}, {recipe.sched}, "
            f"{trainer.epochs} epochs, {trainer.accelerator.device}"
        )
        if processes > 1:
            how = "over all processes" if trainer.sync_bn else "in each process alone; those of the first are kept"
            self.console.print(f"batch norm statistics {how}")
        if trainer.position.all_updates:
            at = trainer.position
            self.console.print(
                f"going on in epoch {at.epoch + 1} after update {at.updates}/{trainer.updates_per_epoch}"
            )
        self._begun = True
        self._trainer = trainer
        self._start, self._first = time.perf_counter(), trainer.position.all_updates
        self._said = time.monotonic()

    def update_done(self, position: Position) -> None:
        """Move the bar; in a long epoch without a bar, say a line now and then."""
        if self.bars.disable and time.monotonic() - self._said < LINE_EVERY:
            return
        trainer = self._trainer
        rate = position.images / max(position.seconds, 1e-9)
        note = f"{rate:.0f} images/s, {duration_text(self._left())} left"
        label = f"epoch {position.epoch + 1}/{trainer.epochs}"
        if self.bars.disable:
            self.console.print(f"  {label}, update {position.updates}/{trainer.updates_per_epoch}: {note}")
            self._said = time.monotonic()
        else:
            self._show(label, position.updates, trainer.updates_per_epoch, note)

    def judging(self, done: int, total: int) -> None:
        """Move the bar of the images that are judged."""
        self._show("judging", done, total, "")

    def epoch_done(self, row: EpochRow, best: bool) -> None:
        """Print the row of an epoch."""
        judged = "" if row.val_top1 is None else f", validation top-1 {row.val_top1:.2f} %, loss {row.val_loss:.3f}"
        star = " *" if best and row.val_top1 is not None else ""
        self.console.print(
            f"  epoch {row.epoch}/{self._trainer.epochs}: loss {row.train_loss:.3f}{judged}, "
            f"{row.images_per_second:.0f} images/s, {duration_text(self._left())} left{star}"
        )
        if row.more:
            self.console.print(f"    {_exits_text(row.more)}")
        self._said = time.monotonic()

    def stopped(self) -> None:
        """Say that the run was stopped, and how it goes on."""
        self.bars.stop()
        if not self.speaks:
            return
        if self._begun:
            typer.echo(
                f"leannet: stopped; a checkpoint is in {self.folder}/last. "
                f"Go on with: leannet train --resume {self.folder}",
                err=True,
            )
        else:
            typer.echo("leannet: stopped before the first step", err=True)

    def _left(self) -> float:
        """Return the seconds left, by the pace since this process began, judging included."""
        trainer = self._trainer
        done = trainer.position.all_updates - self._first
        left = trainer.epochs * trainer.updates_per_epoch - trainer.position.all_updates
        return (time.perf_counter() - self._start) / max(done, 1) * left

    def _show(self, label: str, done: int, total: int, note: str) -> None:
        if self.bars.disable:
            return
        if self._task is None:
            self._task = self.bars.add_task(label, total=total, note=note)
        self.bars.update(self._task, description=label, completed=done, total=total, note=note)


def _exits_text(columns: dict[str, float]) -> str:
    """Say what the exits came to on the validation part, and how open the gates were."""
    prefix = "val_top1_"
    parts = [f"{name.removeprefix(prefix)} {value:.2f} %" for name, value in columns.items() if name.startswith(prefix)]
    if "gates_open" in columns:
        parts.append(f"gates open {100 * columns['gates_open']:.1f} %")
    return ", ".join(parts)
