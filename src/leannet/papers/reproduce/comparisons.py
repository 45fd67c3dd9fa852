"""How far one network lies above another: in accuracy with an interval, and in MACs."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from leannet.measure import mean_interval, newcombe_interval
from leannet.models import count_exit_macs, create_network
from leannet.papers.claims import Claim
from leannet.papers.published import Figure, agrees, published
from leannet.papers.reproduce.records import ENSEMBLE, Exit, TrainingRecord

__all__ = [
    "ABOUT_THE_SAME",
    "Comparison",
    "Count",
    "compare_accuracy",
    "compare_macs",
    "entering_counts",
    "nearest_exit",
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


def compare_accuracy(
    claim: Claim, ours: Sequence[TrainingRecord], others: Sequence[TrainingRecord]
) -> tuple[Comparison, ...]:
    """Compare the trainings of two networks, all seeds together, at the exits that a claim compares.

    Args:
        claim: About accuracy.
        ours: Of the network that is claimed to be better, at least one.
        others: Of the other one, with the same seeds.

    Returns:
        A comparison for each exit; none if no exit needs about the MACs of the single network.
    """
    pairs: list[tuple[str, Exit, Exit]] = []
    if claim.compared == "nearest_macs":
        exit = _exit_beside(ours, others)
        macs, single = _mean_macs(ours)[exit], _mean_macs(others)[None]
        if abs(math.log(macs / single)) > math.log(ABOUT_THE_SAME):
            return ()
        pairs.append((f"exit {exit} ({macs / 1e6:.1f} M MACs against {single / 1e6:.1f} M)", exit, None))
    else:
        pairs += [(f"exit {exit}", exit, exit) for exit in ours[0].points if exit != ENSEMBLE]
    found = []
    for where, exit, against in pairs:
        both = ((ours, exit), (others, against))
        first, second = (
            mean_interval([each.points[at].top1.value for each in records], records[0].test_images)
            for records, at in both
        )
        difference = newcombe_interval(first, second)
        found.append(Comparison(where, difference.value, difference.low, difference.high, difference.low > 0))
    return tuple(found)


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


def entering_counts(claim: Claim, ours: Sequence[TrainingRecord], others: Sequence[TrainingRecord]) -> list[Count]:
    """Return the MACs by which a claim about accuracy picks an exit; none if it compares the same exits."""
    if claim.compared != "nearest_macs":
        return []
    found = []
    for records, exit in ((ours, _exit_beside(ours, others)), (others, None)):
        macs = _mean_macs(records)[exit]
        found.append(Count(records[0].network, exit, macs, macs))
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


def _exit_beside(ours: Sequence[TrainingRecord], single: Sequence[TrainingRecord]) -> Exit:
    return nearest_exit(_mean_macs(ours), _mean_macs(single)[None])


def _mean_macs(records: Sequence[TrainingRecord]) -> dict[Exit, float]:
    """Return the MACs to each exit; those of gates hang on the training, so that seeds differ."""
    return {exit: statistics.fmean(record.points[exit].macs for record in records) for exit in records[0].points}


@functools.cache
def _count(name: str, img_size: int, num_classes: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the MACs up to each exit, with all gates closed and with all of them open."""
    with torch.device("meta"):  # a count needs no weights
        network = create_network(name, num_classes=num_classes, img_size=img_size)
    macs = count_exit_macs(network.eval(), img_size)
    return macs.closed, macs.open


def _by_exit(figures: Sequence[Figure]) -> dict[Exit, float]:
    return {figure.exit: figure.value for figure in figures}
