"""The times of a reproduction: networks of a table timed in turns, each group of them once."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from leannet.measure.bench import RoundTimes
from leannet.papers.published import load_paper
from leannet.papers.tables.budget import Budget
from leannet.papers.tables.experiment import Experiment, Timing
from leannet.report.bench import BenchObserver, BenchRequest, run_bench
from leannet.report.bench.notes import others_text
from leannet_runtime import UserError

__all__ = ["GroupTimes", "read_times", "run_timings", "timed_networks", "timing_request"]

_OF_THE_MACHINE = ("device", "threads")


@dataclass(frozen=True)
class GroupTimes:
    """The times of networks that were timed beside each other."""

    rounds: RoundTimes

    circumstances: str
    """Under which they were taken, in words."""


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
        place, request = _place(folder, timing, device), timing_request(experiment, budget, timing, device)
        if set(timing.tables) & set(tables) and not _complete(place, request):
            shutil.rmtree(place, ignore_errors=True)  # what was taken otherwise, or not to the end
            run_bench(request, place, observer)


def timing_request(experiment: Experiment, budget: Budget, timing: Timing, device: str) -> BenchRequest:
    """Return how the networks of a group are timed."""
    return BenchRequest(
        models=timed_networks(experiment, timing),
        reference=timing.reference,
        img_sizes=None if timing.img_size is None else (timing.img_size,),
        num_classes=timing.num_classes,
        rounds=budget.rounds,
        device=device,
    )


def read_times(experiment: Experiment, budget: Budget, folder: Path, timing: Timing, device: str) -> GroupTimes | None:
    """Return the times of a group of networks; None if they were not taken so, or not to the end.

    Raises:
        UserError: A file is damaged.
    """
    place = _place(folder, timing, device)
    if not _complete(place, timing_request(experiment, budget, timing, device)):
        return None
    seconds: dict[str, list[float]] = {}
    try:
        with (place / "rounds.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                seconds.setdefault(row["network"], []).append(float(row["ms"]) / 1000)
        [table] = json.loads((place / "results.json").read_text(encoding="utf-8"))["tables"]
        described = json.loads((place / "environment.json").read_text(encoding="utf-8"))
        times = {name: tuple(values) for name, values in seconds.items()}
        stable = {row["network"]: bool(row["stable"]) for row in table["networks"]}
        steady = {name: stable[name] for name in times}
        copies = int(table.get("copies", 1))  # older records have one, and do not say so
        rounds = RoundTimes(times, int(table["warm_up_rounds"]), steady, copies)
        return GroupTimes(rounds, _circumstances(table, rounds.rounds, described))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"cannot use {place}", str(error), "Remove it to time again") from error


def _circumstances(table: dict[str, Any], rounds: int, described: dict[str, Any]) -> str:
    machine, packages = described["machine"], described["packages"]
    on_gpu = table["device"] != "cpu"
    processor = ", ".join(machine["gpus"]) if on_gpu else machine["processor"]
    threads = "" if on_gpu else f", {table['threads']} thread{'s' * (table['threads'] != 1)}"
    return (
        f"PyTorch {packages['torch']} {table['backend']} on {processor}{threads}, batch {table['batch_size']}, "
        f"{rounds} rounds in turns{others_text(table['load']['others'])}"
    )


def _place(folder: Path, timing: Timing, device: str) -> Path:
    return folder / "timing" / f"{timing.name}-{device.partition(':')[0]}"


def _complete(place: Path, request: BenchRequest) -> bool:
    """Say whether times were taken to the end, and of the same networks in the same way."""
    path = place / "results.json"
    if not path.is_file():
        return False
    try:
        complete = json.loads(path.read_text(encoding="utf-8"))["complete"] is True
        before = yaml.safe_load((place / "args.yaml").read_text(encoding="utf-8"))
        asked = {name: value for name, value in request.arguments().items() if name not in _OF_THE_MACHINE}
        return complete and all(before[name] == value for name, value in asked.items())
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise UserError(f"cannot use {place}", str(error), "Remove it to time again") from error
