"""What a run writes down: a row for each epoch as it goes, and the results at the end."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from leannet_runtime.files import write_csv

__all__ = ["EpochRow", "summarise", "write_gates", "write_rows"]


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
    more: dict[str, float] = field(default_factory=dict)
    """Further columns: what the exits of a network came to on the validation part, and how open its gates were."""


def summarise(rows: list[EpochRow]) -> dict[str, Any]:
    """Return the time that epochs took, and the largest memory of this process, for ``results.json``.

    The memory is that of the process that finished: a run that was resumed may have had more before. On a GPU the
    largest memory of its tensors stands beside it.
    """
    seconds = sum(row.seconds for row in rows)
    images = sum(row.seconds * row.images_per_second for row in rows)
    gpu = {"peak_gpu_bytes": torch.cuda.max_memory_allocated()} if torch.cuda.is_available() else {}
    rate = images / max(seconds, 1e-9)
    return {"train_seconds": seconds, "images_per_second": rate, "peak_memory_bytes": _peak_memory_bytes(), **gpu}


def _peak_memory_bytes() -> int | None:
    """Return the largest resident memory of this process so far; None where the system does not say."""
    with contextlib.suppress(ImportError):  # Windows has no such module
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return None


def write_rows(path: Path, rows: list[EpochRow]) -> None:
    """Write ``results.csv`` with all rows so far; a reader never sees half a line."""
    table = [{**asdict(row), **row.more} for row in rows]
    for row in table:
        del row["more"]
    names = [each.name for each in fields(EpochRow) if each.name != "more"]
    _write_table(path, [*names, *(rows[0].more if rows else ())], table)


def write_gates(path: Path, rows: list[dict[str, float]]) -> None:
    """Write ``gates.csv``: the share of open gates in each layer after each epoch, from 1 on."""
    table = [{"epoch": number, **row} for number, row in enumerate(rows, start=1)]
    _write_table(path, list(table[0]), table)


def _write_table(path: Path, names: list[str], rows: list[dict[str, float | None]] | list[dict[str, float]]) -> None:
    write_csv(path, names, ([_cell(row[name]) for name in names] for row in rows))


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.9g}"
