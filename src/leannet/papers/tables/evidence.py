"""What ours came to: the records and times of a reproduction, and the intervals made from them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from leannet.measure import Interval, count_macs, count_parameters, mean_interval
from leannet.measure.bench import summarise
from leannet.models import create_network, default_img_size
from leannet.papers.reproduce.drawings import dataset_title
from leannet.papers.reproduce.records import TrainingRecord, read_record
from leannet.papers.tables.budget import Budget
from leannet.papers.tables.experiment import Experiment, Timing
from leannet.papers.tables.plan import Plan, Step
from leannet.papers.tables.timing import GroupTimes, read_times
from leannet.papers.tables.training import read_state
from leannet_runtime import UserError

__all__ = ["Evidence", "check_state", "count", "read_evidence"]

DEVICES = ("cpu", "cuda")
SETTLED_BY_DATA = ("img_size", "crop_pct", "hflip")


@dataclass(frozen=True)
class Evidence:
    """Everything that tables and verdicts are made from."""

    folder: Path
    """In which the records lie."""

    experiment: Experiment
    budget: Budget
    dataset: str | None
    """Which data set of the papers was trained on; None if it is none of them, or nothing was trained."""

    data: str
    """What the data are called."""

    train_images: int
    """All that the data have for training, whatever the budget takes."""

    records: dict[str, tuple[TrainingRecord, ...]]
    """By network, in the order of seeds."""

    times: dict[tuple[str, str], GroupTimes]
    """By the name of the timing and the device."""

    @property
    def data_title(self) -> str:
        """What a reader knows the data by."""
        return dataset_title(self.dataset) if self.dataset else self.data

    def top1(self, network: str) -> Interval | None:
        """Return the mean accuracy of a network over its seeds, in percent; None without a record."""
        records = self.records.get(network, ())
        if not records:
            return None
        return mean_interval([record.points[None].top1.value for record in records], records[0].test_images)

    def ratio(self, network: str, against: str, timing: Timing, device: str) -> Interval | None:
        """Return the time of a network as a multiple of another's; None where one of them was not timed."""
        group = self.times.get((timing.name, device))
        times = None if group is None else group.rounds
        if times is None or not {network, against} <= times.seconds.keys() or network == against:
            return None
        found = {record.network: record.ratio for record in summarise(times, 1, against)}[network]
        return None if found is None else found.interval


def check_state(plan: Plan) -> dict[str, Any] | None:
    """Return what the records in the folder of a plan are records of; None if nothing was begun there.

    Raises:
        UserError: They are of another paper or budget.
    """
    state = read_state(plan.folder)
    if state is not None and (state["paper"], state["budget"]) != (plan.experiment.paper, plan.budget.as_dict()):
        before = f"{state['paper']}, budget {state['budget'].get('name') if isinstance(state['budget'], dict) else '?'}"
        why = f"they are of {before}, or of this budget as it was before"
        other = "budget" if state["paper"] == plan.experiment.paper else "paper"
        raise UserError(f"{plan.folder} holds records of another {other}", why, "Choose another --records or --output")
    return state


def read_evidence(plan: Plan) -> Evidence:
    """Read the records and times of a reproduction.

    Raises:
        UserError: A file is damaged, or a record belongs to another budget, recipe or data.
    """
    state = check_state(plan)
    records: dict[str, list[TrainingRecord]] = {}
    for step in plan.steps:
        if not step.finished or plan.experiment.paper == "emgnet":
            continue
        record = read_record(step.folder, [None])
        _check_record(record, step, [each for found in records.values() for each in found])
        records.setdefault(step.network, []).append(record)
    times = {
        (timing.name, device): found
        for timing in plan.experiment.timings
        for device in DEVICES
        if (found := read_times(plan.experiment, plan.budget, plan.folder, timing, device)) is not None
    }
    trained = {} if state is None or state["fingerprint"] is None else state
    return Evidence(
        folder=plan.folder,
        experiment=plan.experiment,
        budget=plan.budget,
        dataset=trained.get("dataset"),
        data=str(trained.get("data", "-")),
        train_images=trained["images"]["train"] if trained else 0,
        records={name: tuple(found) for name, found in records.items()},
        times=times,
    )


def _check_record(record: TrainingRecord, step: Step, others: Sequence[TrainingRecord]) -> None:
    """Refuse a record of another budget: a table of both would compare nothing."""
    found = record.recipe.as_dict()
    asked = {name: value for name, value in step.recipe.as_dict().items() if name not in SETTLED_BY_DATA}
    different = [name for name, value in asked.items() if found[name] != value]
    if (record.network, record.seed, record.epochs) != (step.network, step.seed, step.recipe.epochs):
        different.append("network, seed or number of epochs")
    if others and others[0].fingerprint != record.fingerprint:
        different.append("images")
    if different:
        why = f"it was trained with other {', '.join(different)} than this budget has"
        raise UserError(f"cannot use {step.folder}", why, "Move it elsewhere, or choose another folder")


@functools.cache
def count(network: str, num_classes: int | None, img_size: int | None) -> tuple[int, int]:
    """Return parameters and MACs of a network; this needs no training.

    Args:
        network: Its name.
        num_classes: Its own if None.
        img_size: Side of the images in pixels; its own if None.
    """
    size = img_size or default_img_size(network)
    with torch.device("meta"):  # a count needs no weights
        model = create_network(network, num_classes=num_classes, img_size=size).eval()
        macs = count_macs(model, torch.zeros(1, 3, size, size)).total
    return count_parameters(model), macs
