"""The times of a reproduction: networks of a table timed in turns, each group of them once."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from leannet.measure.bench import RoundTimes
from leannet.papers.published import load_paper
from leannet.papers.tables.budget import Budget
from leannet.papers.tables.experiment import Experiment, Timing
from leannet.report.bench import BenchObserver, BenchRequest, run_bench
from leannet_runtime import UserError

__all__ = ["read_times", "run_timings", "timed_networks"]


def timed_networks(experiment: Experiment, timing: Timing) -> tuple[str, ...]:
    """Return the networks of the tables that are timed together, in the order of the paper."""
    figures = load_paper(experiment.paper).figures
    return tuple(dict.fromkeys(figure.network for figure in figures if figure.table in timing.tables))


def run_timings(
    experiment: Experiment,
    budget: Budget,
    folder: Path,
    observer: BenchObserver,
    *,
    tables: tuple[str, ...],
    device: str = "cpu",
) -> None:
    """Time the networks of some tables; what is timed already is kept.

    Args:
        experiment: Which networks, in which circumstances.
        budget: How many rounds.
        folder: Of the reproduction; the times lie in ``timing/NAME-DEVICE`` below it.
        observer: Told of every step.
        tables: Of which tables.
        device: "cpu" or "cuda".

    Raises:
        UserError: There is no such device.
    """
    for timing in experiment.timings:
        place = _place(folder, timing, device)
        if not set(timing.tables) & set(tables) or _complete(place):
            continue
        request = BenchRequest(
            models=timed_networks(experiment, timing),
            reference=timing.reference,
            img_sizes=None if timing.img_size is None else (timing.img_size,),
            num_classes=timing.num_classes,
            rounds=budget.rounds,
            device=device,
        )
        run_bench(request, place, observer)


def read_times(folder: Path, timing: Timing, device: str) -> RoundTimes | None:
    """Return the times of a group of networks; None if they were not taken, or not to the end.

    Raises:
        UserError: A file is damaged.
    """
    place = _place(folder, timing, device)
    if not _complete(place):
        return None
    path = place / "rounds.csv"
    seconds: dict[str, list[float]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                seconds.setdefault(row["network"], []).append(float(row["ms"]) / 1000)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"cannot use {path}", str(error), f"Remove {place} to time again") from error
    times = {name: tuple(values) for name, values in seconds.items()}
    return RoundTimes(times, 0, dict.fromkeys(times, True))


def _place(folder: Path, timing: Timing, device: str) -> Path:
    return folder / "timing" / f"{timing.name}-{device.partition(':')[0]}"


def _complete(place: Path) -> bool:
    path = place / "results.json"
    if not path.is_file():
        return False
    try:
        return json.loads(path.read_text(encoding="utf-8"))["complete"] is True
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"cannot use {path}", str(error), f"Remove {place} to time again") from error
