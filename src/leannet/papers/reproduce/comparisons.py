"""How far one network lies above another: in accuracy with an interval, and in MACs."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from leannet.measure import Interval
from leannet.models import count_exit_macs, create_network
from leannet.papers.claims import Claim
from leannet.papers.published import Figure, agrees, published
from leannet.papers.reproduce.records import ENSEMBLE, Exit, Point, TrainingRecord

__all__ = [
    "ABOUT_THE_SAME",
    "Comparison",
    "Count",
    "compare_accuracy",
    "compare_macs",
    "entering_counts",
    "nearest_exit",
    "newcombe_interval",
    "other_than_plotted",
    "plotted_range",
]

ABOUT_THE_SAME = 1.25
"""Up to this ratio, MACs are about the same."""


@dataclass(frozen=True)
class Comparison:
    """How far one network lies above the other, in the unit of the claim."""

    where: str
    """Exit, seed."""

    value: float
    low: float
    high: float
    """The 95 % interval, or of MACs what gates leave open."""

    holds: bool | None
    """Whether the claim holds here; None if this is for information only."""


@dataclass(frozen=True)
class Count:
    """MACs of ours that enter a claim."""

    network: str
    exit: Exit
    low: float
    high: float
    """With gates, of which nobody knows how many are open: those with all closed, and those with all open."""


def compare_accuracy(claim: Claim, ours: TrainingRecord, other: TrainingRecord, seeds: bool) -> list[Comparison]:
    """Compare two trainings at the exits that a claim compares.

    Args:
        claim: About accuracy.
        ours: Of the network that is claimed to be better.
        other: Of the other one.
        seeds: Whether the seed is told.

    Returns:
        A comparison for each exit; none if no exit needs about the MACs of the single network.
    """
    pairs: list[tuple[str, Point, Point]] = []
    if claim.compared == "nearest_macs":
        single, exit = other.points[None], _exit_beside(ours, other)
        point = ours.points[exit]
        if abs(math.log(point.macs / single.macs)) > math.log(ABOUT_THE_SAME):
            return []
        pairs.append((f"exit {exit} ({point.macs / 1e6:.1f} M MACs against {single.macs / 1e6:.1f} M)", point, single))
    else:
        pairs += [(f"exit {exit}", ours.points[exit], other.points[exit]) for exit in ours.points if exit != ENSEMBLE]
    found = []
    for where, point, against in pairs:
        difference = newcombe_interval(point.top1, against.top1)
        place = f"{where}, seed {ours.seed}" if seeds else where
        found.append(Comparison(place, difference.value, difference.low, difference.high, difference.low > 0))
    return found


def newcombe_interval(first: Interval, second: Interval) -> Interval:
    """Compute the 95 % interval of the difference of two shares, first less second, from their Wilson intervals.

    Args:
        first: Percent, by `leannet.measure.wilson_interval`.
        second: The same.

    Returns:
        Percentage points.

    Source: Newcombe (1998), "Interval estimation for the difference between independent proportions", method 10.
    """
    difference = first.value - second.value
    low = difference - math.hypot(first.value - first.low, second.high - second.value)
    high = difference + math.hypot(first.high - first.value, second.value - second.low)
    return Interval(difference, low, high, "Newcombe, hybrid score, independent")


def nearest_exit(exits: dict[Exit, float], macs: float) -> Exit:
    """Return the exit whose MACs are nearest, as a ratio, to those of a single network; no ensemble.

    Args:
        exits: MACs by exit.
        macs: Of the single network.
    """
    alone = {exit: value for exit, value in exits.items() if exit != ENSEMBLE}
    return min(alone, key=lambda exit: abs(math.log(alone[exit] / macs)))


def compare_macs(claim: Claim, dataset: str) -> tuple[tuple[Comparison, ...], list[Count]]:
    """Compare the MACs of two networks at each exit; this needs no training.

    Args:
        claim: About MACs.
        dataset: One of its data sets.

    Returns:
        A comparison for each exit and one of their mean; and the counts that they are made from.
    """
    figure = published(claim.network, "macs", dataset=dataset)[0]
    assert figure.img_size is not None
    assert figure.num_classes is not None
    both = [(name, *_count(name, figure.img_size, figure.num_classes)) for name in (claim.network, claim.against)]
    (_, *ours), (_, _, against) = both
    closed, opened = ([100 * (mine / its - 1) for mine, its in zip(counts, against, strict=True)] for counts in ours)
    found = [
        Comparison(f"exit {number}", high, low, high, high <= max(claim.printed))
        for number, (low, high) in enumerate(zip(closed, opened, strict=True), start=1)
    ]
    mean = [sum(values) / len(values) for values in (closed, opened)]
    counts = [
        Count(name, exit, low, high)
        for name, lows, highs in both
        for exit, (low, high) in enumerate(zip(lows, highs, strict=True), start=1)
    ]
    return (*found, Comparison("mean of the exits", mean[1], mean[0], mean[1], None)), counts


def entering_counts(claim: Claim, pairs: Sequence[tuple[TrainingRecord, TrainingRecord]]) -> list[Count]:
    """Return the MACs by which a claim about accuracy picks an exit; none if it compares the same exits."""
    if claim.compared != "nearest_macs":
        return []
    found = []
    for one, other in pairs:
        for record, exit in ((one, _exit_beside(one, other)), (other, None)):
            macs = record.points[exit].macs
            found.append(Count(record.network, exit, macs, macs))
    return found


def other_than_plotted(counts: Iterable[Count], dataset: str) -> list[str]:
    """Return which counts are not those of the paper's plot within the error of reading it, in words.

    Args:
        counts: Of exits that the plot has on the data set.
        dataset: The data set.
    """
    found = []
    for count in counts:
        figures = published(count.network, "macs", dataset=dataset)
        (figure,) = (figure for figure in figures if figure.exit == count.exit)
        nearest = min(max(figure.value, count.low), count.high)
        if not agrees(nearest, figure):
            exit = "" if count.exit is None else f" exit {count.exit}"
            ends = " to ".join(dict.fromkeys(f"{value / 1e6:,.1f}" for value in (count.low, count.high)))
            found.append(f"{count.network}{exit} {ends} M for {figure.value / 1e6:,.0f} M")
    return list(dict.fromkeys(found))


def plotted_range(claim: Claim, dataset: str) -> tuple[float, float] | None:
    """Return the least and the greatest difference between the published points that a claim compares, if any."""
    both = (claim.network, claim.against)
    ours, others = (_by_exit(published(name, claim.quantity, dataset=dataset)) for name in both)
    if claim.compared == "nearest_macs":
        macs, single = (_by_exit(published(name, "macs", dataset=dataset)) for name in both)
        pairs = [(ours[nearest_exit(macs, single[None])], others[None])] if macs and single else []
    else:
        pairs = [(ours[exit], others[exit]) for exit in ours if exit in others and exit != ENSEMBLE]
    relative = claim.unit == "%"
    differences = [100 * (mine / its - 1) if relative else mine - its for mine, its in pairs]
    return (min(differences), max(differences)) if differences else None


def _exit_beside(ours: TrainingRecord, single: TrainingRecord) -> Exit:
    return nearest_exit({exit: point.macs for exit, point in ours.points.items()}, single.points[None].macs)


@functools.cache
def _count(name: str, img_size: int, num_classes: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the MACs up to each exit, with all gates closed and with all of them open."""
    with torch.device("meta"):  # a count needs no weights
        network = create_network(name, num_classes=num_classes, img_size=img_size)
    macs = count_exit_macs(network.eval(), img_size)
    return macs.closed, macs.open


def _by_exit(figures: Sequence[Figure]) -> dict[Exit, float]:
    return {figure.exit: figure.value for figure in figures}
