"""What becomes of the claims that a paper makes about a figure, by `leannet.papers.reproduce.RULE`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from leannet.papers.claims import Claim
from leannet.papers.reproduce.comparisons import (
    Comparison,
    compare_accuracy,
    compare_macs,
    entering_counts,
    other_than_plotted,
    plotted_range,
)
from leannet.papers.reproduce.drawings import Drawing
from leannet.papers.reproduce.records import TrainingRecord, seeds_text
from leannet.papers.reproduce.rule import (
    CONFIRMED,
    CONTRADICTED,
    ENOUGH,
    FAILS_FOR_OURS,
    HOLDS_FOR_OURS,
    LEAST_SEEDS,
    NOT_AT_THIS_BUDGET,
    NOT_CONFIRMED,
    NOT_TESTABLE,
    ONE_SEED,
    left_seeds_text,
)
from leannet.papers.reproduce.terms import deviation
from leannet.training import load_recipe

__all__ = ["Comparison", "Verdict", "judge_claim"]

_BySeed = Mapping[int, TrainingRecord]


@dataclass(frozen=True)
class Verdict:
    """What becomes of a claim on one data set."""

    claim: Claim
    dataset: str
    plotted: tuple[float, float] | None
    """Least and greatest difference between the published points at the exits that the claim compares."""

    word: str
    """One of: confirmed, not confirmed, contradicted, holds for our layouts, does not hold for our layouts, not
    testable, not testable at this budget."""

    reason: str
    """Why, in a sentence; of trainings, with their seeds."""

    comparisons: tuple[Comparison, ...] = field(default=())
    seeds: tuple[int, ...] = field(default=())
    """With which both networks were trained."""

    without_partner: tuple[str, ...] = field(default=())
    """Seeds of only one of them, in words."""


def judge_claim(claim: Claim, dataset: str, drawing: Drawing, records: Sequence[TrainingRecord]) -> Verdict:
    """Judge a claim by `RULE`.

    Args:
        claim: What the paper says.
        dataset: One of the claim's data sets.
        drawing: The figure that the records belong to.
        records: Of trainings on the figure's data set.
    """
    verdict = functools.partial(Verdict, claim, dataset, plotted_range(claim, dataset))
    if claim.quantity == "macs":
        comparisons, counts = compare_macs(claim, dataset)
        saves = "at least the printed share at every exit" if _hold(comparisons) else "less than printed at some exit"
        reason = f"counted of our layouts, for the paper does not print its own: it saves {saves}"
        others = other_than_plotted(counts, dataset)
        return verdict(_word(comparisons, others, accuracy=False), reason + _not_plotted(others), comparisons)
    if dataset != drawing.dataset:
        return verdict(NOT_TESTABLE, f"the records are of trainings on {drawing.dataset_title}")
    return _judge_trainings(claim, drawing, records, verdict)


def _judge_trainings(
    claim: Claim, drawing: Drawing, records: Sequence[TrainingRecord], verdict: Callable[..., Verdict]
) -> Verdict:
    both = (claim.network, claim.against)
    trained = {record.network for record in records}
    if missing := [drawing.names[name] for name in both if name not in trained]:
        return verdict(NOT_TESTABLE, f"there is no record of {' nor of '.join(missing)}")
    ours, against = ({record.seed: record for record in records if record.network == name} for name in both)
    alone = _without_partner(ours, against, (drawing.names[claim.network], drawing.names[claim.against]))
    seeds = tuple(sorted(ours.keys() & against.keys()))
    if not seeds:
        reason = f"there is no seed with which both were trained: {', '.join(alone)}"
        return verdict(NOT_TESTABLE, reason, without_partner=alone)
    verdict = functools.partial(verdict, seeds=seeds, without_partner=alone)
    first, second = ([some[seed] for seed in seeds] for some in (ours, against))
    if reason := _unfit([*first, *second], drawing):
        return verdict(NOT_TESTABLE, reason)
    comparisons = compare_accuracy(claim, first, second)
    if not comparisons:
        return verdict(NOT_TESTABLE, "no exit needs about the same MACs")
    others = other_than_plotted(entering_counts(claim, first, second), drawing.dataset)
    of_seeds = "; ".join((seeds_text(seeds), *alone))
    finding = f"{_finding(comparisons)} ({of_seeds}){_not_plotted(others)}"
    if left := left_seeds_text(drawing.seeds, seeds):
        return verdict(NOT_TESTABLE, f"{left}. Without that {finding}", comparisons)
    if not (short := _too_little(claim, drawing, [*first, *second], len(seeds))):
        return verdict(_word(comparisons, others, accuracy=True), finding, comparisons)
    holds = "it holds" if _hold(comparisons) else "it does not hold"
    return verdict(NOT_AT_THIS_BUDGET, f"{short}. At this budget {holds}: {finding}", comparisons)


def _without_partner(ours: _BySeed, against: _BySeed, names: tuple[str, str]) -> tuple[str, ...]:
    name, other = names
    return tuple(
        f"{who} seed {seed} has no partner of {partner}"
        for who, some, partner, others in ((name, ours, other, against), (other, against, name, ours))
        for seed in sorted(some.keys() - others.keys())
    )


def _unfit(records: Sequence[TrainingRecord], drawing: Drawing) -> str:
    """Return why trainings cannot be compared or put together, empty if they can."""
    for record in records:
        if found := deviation(record, drawing):
            return f"{drawing.names[record.network]} of seed {record.seed} {found}"
    one = records[0]
    for other in records[1:]:
        if (one.epochs, one.images, one.test_images) != (other.epochs, other.images, other.test_images):
            unequal = " and ".join(f"{each.budget} (tested on {each.test_images:,})" for each in (one, other))
            return f"they were trained or tested unequally: {unequal}"
        if one.fingerprint != other.fingerprint:
            unequal = " and ".join(each.fingerprint[:12] for each in (one, other))
            return f"they were trained or tested on different images: the data's fingerprint is {unequal}"
    return ""


def _finding(comparisons: Sequence[Comparison]) -> str:
    failing = [found for found in comparisons if found.holds is False]
    undecided = [found.where for found in failing if found.high >= 0]
    contrary = [found.where for found in failing if found.high < 0]
    parts = [f"the interval includes 0 at {', '.join(undecided)}"] if undecided else []
    parts += [f"the interval lies below 0 at {', '.join(contrary)}"] if contrary else []
    return "; ".join(parts) or "the interval lies above 0 everywhere"


def _not_plotted(others: Sequence[str]) -> str:
    return f"; but these counts of ours are not the plotted ones: {', '.join(others)}" if others else ""


def _too_little(claim: Claim, drawing: Drawing, records: Sequence[TrainingRecord], seeds: int) -> str:
    """Return why trainings decide nothing, empty if they were long enough and enough of them."""
    epochs = load_recipe(drawing.recipes[claim.network]).epochs
    if min(record.epochs * record.images for record in records) >= ENOUGH * epochs * drawing.train_images:
        return "" if seeds >= LEAST_SEEDS else ONE_SEED
    budgets = " and ".join(dict.fromkeys(record.budget for record in records))
    return (
        f"trained for {budgets}, and the recipe takes {epochs} epochs of {drawing.train_images:,} "
        f"({drawing.budget_source})"
    )


def _word(comparisons: Sequence[Comparison], other_counts: Sequence[str], accuracy: bool) -> str:
    if other_counts:
        return HOLDS_FOR_OURS if _hold(comparisons) else FAILS_FOR_OURS
    if _hold(comparisons):
        return CONFIRMED
    contrary = accuracy and any(found.holds is False and found.high < 0 for found in comparisons)
    return CONTRADICTED if contrary else NOT_CONFIRMED


def _hold(comparisons: Sequence[Comparison]) -> bool:
    return all(found.holds is not False for found in comparisons)
