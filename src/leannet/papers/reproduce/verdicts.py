"""What becomes of a paper's claims: one rule, in code, for all of them."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from leannet.measure import Interval
from leannet.models import count_exit_macs, create_network
from leannet.papers.claims import Claim
from leannet.papers.published import Figure, published
from leannet.papers.reproduce.drawings import Drawing
from leannet.papers.reproduce.records import ENSEMBLE, Exit, Point, TrainingRecord
from leannet.training import load_recipe

__all__ = ["RULE", "Comparison", "Verdict", "judge_claim", "newcombe_interval"]

ENOUGH = 0.5
"""Share of the recipe's image presentations (epochs times images) from which a training can decide a claim."""

ABOUT_THE_SAME = 1.25
"""Up to this ratio, MACs are about the same."""

RULE = (
    "A claim about accuracy is confirmed if, for every seed and at every exit, the 95 % interval of the difference "
    "lies wholly on the claimed side of 0; else it is not confirmed. The interval is Newcombe's hybrid score interval "
    "of two independent shares, from their Wilson intervals: on the same test images it is rather too wide, and it "
    "knows nothing of the chance in training, which only more seeds show. The size is shown and not judged, for the "
    "printed range spans several data sets. A claim about MACs needs no training: it is confirmed if at every exit, "
    "with all gates open, at least the printed share is saved. With a network that has no exits, the exit whose MACs "
    f"are nearest is compared; they may differ by a factor of {ABOUT_THE_SAME:g}. A claim is not testable if a record "
    f"is missing, if the two were trained unequally, or if they saw fewer than {100 * ENOUGH:.0f} % of the images "
    "(epochs times images) that the recipe goes through; then what came out at this budget is told beside it."
)

CONFIRMED, NOT_CONFIRMED = "confirmed", "not confirmed"
NOT_TESTABLE, NOT_AT_THIS_BUDGET = "not testable", "not testable at this budget"


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
class Verdict:
    """What becomes of a claim on one data set."""

    claim: Claim
    dataset: str
    plotted: tuple[float, float] | None
    """Least and greatest difference between the published points at the exits that the claim compares."""

    word: str
    """One of: confirmed, not confirmed, not testable, not testable at this budget."""

    reason: str
    """Why, in a sentence."""

    comparisons: tuple[Comparison, ...] = field(default=())


def judge_claim(claim: Claim, dataset: str, drawing: Drawing, records: Sequence[TrainingRecord]) -> Verdict:
    """Judge a claim by `RULE`.

    Args:
        claim: What the paper says.
        dataset: One of the claim's data sets.
        drawing: The figure that the records belong to.
        records: Of trainings on the figure's data set.
    """
    verdict = functools.partial(Verdict, claim, dataset, _plotted(claim, dataset))
    if claim.quantity == "macs":
        comparisons = _compare_macs(claim, dataset)
        saves = "at least the printed share at every exit" if _hold(comparisons) else "less than printed at some exit"
        reason = f"counted of our layouts, for the paper does not print its own: it saves {saves}"
        return verdict(_word(comparisons), reason, comparisons)
    if dataset != drawing.dataset:
        return verdict(NOT_TESTABLE, f"the records are of trainings on {drawing.dataset_title}")
    both = (claim.network, claim.against)
    ours, others = ({record.seed: record for record in records if record.network == name} for name in both)
    trained = {record.network for record in records}
    if missing := [drawing.names[name] for name in both if name not in trained]:
        return verdict(NOT_TESTABLE, f"there is no record of {' nor of '.join(missing)}")
    pairs = [(ours[seed], others[seed]) for seed in sorted(ours.keys() & others.keys())]
    if not pairs:
        return verdict(NOT_TESTABLE, "there is no seed with which both were trained")
    for one, other in pairs:
        if (one.epochs, one.images, one.test_images) != (other.epochs, other.images, other.test_images):
            unequal = " and ".join(f"{each.budget} (tested on {each.test_images:,})" for each in (one, other))
            return verdict(NOT_TESTABLE, f"they were trained or tested unequally: {unequal}")
    found = [_compare_accuracy(claim, *pair, seeds=len(pairs) > 1) for pair in pairs]
    if not all(found):
        return verdict(NOT_TESTABLE, "no exit needs about the same MACs")
    comparisons = tuple(comparison for of_seed in found for comparison in of_seed)
    short = _too_short(claim, drawing, [record for pair in pairs for record in pair])
    if not short:
        return verdict(_word(comparisons), _finding(comparisons), comparisons)
    holds = "it holds" if _hold(comparisons) else "it does not hold"
    return verdict(NOT_AT_THIS_BUDGET, f"{short}. At this budget {holds}: {_finding(comparisons)}", comparisons)


def _finding(comparisons: Sequence[Comparison]) -> str:
    failing = [found for found in comparisons if found.holds is False]
    undecided = [found.where for found in failing if found.high >= 0]
    contrary = [found.where for found in failing if found.high < 0]
    parts = [f"the interval includes 0 at {', '.join(undecided)}"] if undecided else []
    parts += [f"the interval lies below 0 at {', '.join(contrary)}"] if contrary else []
    return "; ".join(parts) or "the interval lies above 0 everywhere"


def _too_short(claim: Claim, drawing: Drawing, records: Sequence[TrainingRecord]) -> str:
    """Return why trainings decide nothing, empty if they were long enough."""
    epochs = load_recipe(drawing.recipes[claim.network]).epochs
    if min(record.epochs * record.images for record in records) >= ENOUGH * epochs * drawing.train_images:
        return ""
    budgets = " and ".join(dict.fromkeys(record.budget for record in records))
    return (
        f"trained for {budgets}, and the recipe takes {epochs} epochs of {drawing.train_images:,} "
        f"({drawing.budget_source})"
    )


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


def _word(comparisons: Sequence[Comparison]) -> str:
    return CONFIRMED if _hold(comparisons) else NOT_CONFIRMED


def _hold(comparisons: Sequence[Comparison]) -> bool:
    return all(found.holds is not False for found in comparisons)


def _compare_accuracy(claim: Claim, ours: TrainingRecord, other: TrainingRecord, seeds: bool) -> list[Comparison]:
    pairs: list[tuple[str, Point, Point]] = []
    if claim.compared == "nearest_macs":
        single = other.points[None]
        exit = nearest_exit({exit: point.macs for exit, point in ours.points.items()}, single.macs)
        point = ours.points[exit]
        if abs(math.log(point.macs / single.macs)) > math.log(ABOUT_THE_SAME):
            return []
        pairs.append((f"exit {exit} ({point.macs / 1e6:.1f} M MACs against {single.macs / 1e6:.1f} M)", point, single))
    else:
        pairs += [(f"exit {exit}", ours.points[exit], other.points[exit]) for exit in _exits(ours)]
    found = []
    for where, point, against in pairs:
        difference = newcombe_interval(point.top1, against.top1)
        place = f"{where}, seed {ours.seed}" if seeds else where
        found.append(Comparison(place, difference.value, difference.low, difference.high, difference.low > 0))
    return found


def _exits(record: TrainingRecord) -> list[Exit]:
    return [exit for exit in record.points if exit != ENSEMBLE]


def _compare_macs(claim: Claim, dataset: str) -> tuple[Comparison, ...]:
    figure = published(claim.network, "macs", dataset=dataset)[0]
    assert figure.img_size is not None
    assert figure.num_classes is not None
    ours, others = (_count(name, figure.img_size, figure.num_classes) for name in (claim.network, claim.against))
    closed, opened = ([100 * (mine / its - 1) for mine, its in zip(counts, others[1], strict=True)] for counts in ours)
    found = [
        Comparison(f"exit {number}", high, low, high, high <= max(claim.printed))
        for number, (low, high) in enumerate(zip(closed, opened, strict=True), start=1)
    ]
    mean = [sum(values) / len(values) for values in (closed, opened)]
    return (*found, Comparison("mean of the exits", mean[1], mean[0], mean[1], None))


@functools.cache
def _count(name: str, img_size: int, num_classes: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the MACs up to each exit, with all gates closed and with all of them open."""
    with torch.device("meta"):  # a count needs no weights
        network = create_network(name, num_classes=num_classes, img_size=img_size)
    macs = count_exit_macs(network.eval(), img_size)
    return macs.closed, macs.open


def _plotted(claim: Claim, dataset: str) -> tuple[float, float] | None:
    """Return the range of differences between the published points."""
    ours, others = (
        _by_exit(published(name, claim.quantity, dataset=dataset)) for name in (claim.network, claim.against)
    )
    if claim.compared == "nearest_macs":
        macs, single = (_by_exit(published(name, "macs", dataset=dataset)) for name in (claim.network, claim.against))
        pairs = [(ours[nearest_exit(macs, single[None])], others[None])] if macs and single else []
    else:
        pairs = [(ours[exit], others[exit]) for exit in ours if exit in others and exit != ENSEMBLE]
    relative = claim.unit == "%"
    differences = [100 * (mine / its - 1) if relative else mine - its for mine, its in pairs]
    return (min(differences), max(differences)) if differences else None


def _by_exit(figures: Sequence[Figure]) -> dict[Exit, float]:
    return {figure.exit: figure.value for figure in figures}
