"""What a run writes down: a row for each epoch as it goes, and the results at the end."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from leannet.measure import wilson_interval
from leannet_runtime.files import write_text

__all__ = ["EpochRow", "Judgement", "judge", "write_rows"]


@dataclass(frozen=True)
class EpochRow:
    """A row of ``results.csv``."""

    epoch: int
    """From 1."""

    train_loss: float
    val_loss: float | None
    """Cross-entropy on the validation part; None without one, as all that follow from it."""

    val_top1: float | None
    """Percent."""

    lr: float
    images_per_second: float
    seconds: float


@dataclass(frozen=True)
class Judgement:
    """How a network did on a part: numbers of images, and what follows from them."""

    part: str
    correct: int
    total: int
    loss: float
    """Mean cross-entropy."""

    @property
    def top1(self) -> float:
        """Accuracy in percent."""
        return 100 * self.correct / self.total

    def record(self) -> dict[str, Any]:
        """Return what stands in ``results.json``."""
        return {**asdict(self), "top1": asdict(wilson_interval(self.correct, self.total))}


def judge(part: str, logits: Tensor, labels: Tensor) -> Judgement:
    """Judge answers.

    Args:
        part: Which part of the data.
        logits: Shape ``(N, num_classes)``.
        labels: int64 of shape ``(N,)``.
    """
    correct = int((logits.argmax(dim=1) == labels).sum())
    loss = float(F.cross_entropy(logits.to(torch.float64), labels))
    return Judgement(part, correct, len(labels), loss)


def write_rows(path: Path, rows: list[EpochRow]) -> None:
    """Write ``results.csv`` with all rows so far; a reader never sees half a line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in fields(EpochRow))
    writer.writerows([_cell(value) for value in asdict(row).values()] for row in rows)
    write_text(path, text.getvalue())


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.9g}"
