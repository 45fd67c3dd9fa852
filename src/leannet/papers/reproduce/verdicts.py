"""What becomes of a paper's claims: one rule, in code, for all of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from leannet.papers.claims import Claim
from leannet.papers.reproduce.comparisons import (
    ABOUT_THE_SAME,
    Comparison,
    compare_accuracy,
    compare_macs,
    entering_counts,
    other_than_plotted,
    plotted_range,
)
from leannet.papers.reproduce.drawings import Drawing
from leannet.papers.reproduce.records import TrainingRecord
from leannet.papers.reproduce.terms import FREE_FIELDS, FREE_OF_SINGLE_NETWORKS, FREE_OF_SUMMED_LOSSES, deviation
from leannet.training import load_recipe

__all__ = [
    "CONFIRMED",
    "CONTRADICTED",
    "ENOUGH",
    "FAILS_FOR_OURS",
    "HOLDS_FOR_OURS",
    "NOT_AT_THIS_BUDGET",
    "NOT_CONFIRMED",
    "NOT_TESTABLE",
    "RULE",
    "Comparison",
    "Verdict",
    "judge_claim",
]

ENOUGH = 0.5
"""Share of the recipe's image presentations (epochs times images) from which a training can decide a claim."""

CONFIRMED, NOT_CONFIRMED, CONTRADICTED = "confirmed", "not confirmed", "contradicted"
HOLDS_FOR_OURS, FAILS_FOR_OURS = "holds for our layouts", "does not hold for our layouts"
NOT_TESTABLE, NOT_AT_THIS_BUDGET = "not testable", "not testable at this budget"

RULE = (
    "A claim about accuracy is confirmed if, for every seed with which both networks were trained and at every exit, "
    "the 95 % interval of the difference lies wholly on the claimed side of 0; it is contradicted if one of them lies "
    "wholly on the other side; else it is not confirmed. Seeds that "
    "only one of them has do not count, and are named. The interval is Newcombe's hybrid score interval "
    "of two independent shares, from their Wilson intervals: on the same test images it is rather too wide, and it "
    "knows nothing of the chance in training, which only more seeds show. The size is shown and not judged, for the "
    "printed range spans several data sets. A claim about MACs needs no training: it is confirmed if at every exit, "
    "with all gates open, at least the printed share is saved. With a network that has no exits, the exit whose MACs "
    f"are nearest is compared; they may differ by a factor of {ABOUT_THE_SAME:g}. Where one of our counts that enter "
    "such a claim, about MACs or about networks of about the same MACs, is not the plotted one within the error of "
    f'reading the plot, the claim is neither confirmed nor not: it "{HOLDS_FOR_OURS}", or it "{FAILS_FOR_OURS}". '
    "Untrained, gates may have any count between all closed and all open; trained, they have their mean on the test "
    "images. Into a claim about accuracy at the same exits no MACs enter. A claim is not testable if a record is "
    "missing; if no exit needs about the MACs of the single network; if a network was not trained by the recipe of its "
    "paper, in one process, from no given weights and to the end of its schedule; if "
    "the two were trained for unequal epochs or numbers of images, or on other images (by the fingerprint of the "
    f"data); or if they saw fewer than {100 * ENOUGH:.0f} % of the images (epochs times images) that the recipe goes "
    "through: then what came out at this budget is told beside it. Fields of a recipe that are free: "
    f"{', '.join(FREE_FIELDS)}; where exits learn by the sum of their losses {', '.join(FREE_OF_SUMMED_LOSSES)}; and "
    f"of networks without exits {', '.join(FREE_OF_SINGLE_NETWORKS)}. All others are compared, at the size of image "
    "and crop that is used. "
    "In a table the seeds of a network are put together: their mean, and an interval that squares and adds (Zou and "
    "Donner 2008) Student's interval of the mean over seeds, for chance in training, and Wilson's of the mean share, "
    "for the choice of test images; of one seed Wilson's alone. Two networks are compared by squaring and adding once "
    "more, which on the same test images is rather too wide. A claim of not losing more than a margin is confirmed if "
    "the interval lies wholly above minus the margin, and contradicted if it lies wholly below. A claim about "
    "parameters or MACs of networks without exits needs no training: it is confirmed if ours lie on the claimed side, "
    "by at least the printed share in its printed places, and contradicted if not; if one of the two counts is not "
    "the printed one, it is said of our layouts only. A claim about time is confirmed or contradicted if the 95 % "
    "bootstrap interval of the ratio, measured in turns on one machine, lies wholly on one side of 1; how large the "
    "ratio is belongs to the machine and is not judged. A claim about time on a GPU is not testable without one; the "
    "time on the CPU is then told beside it."
)


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
    pairs = [(ours[seed], against[seed]) for seed in sorted(ours.keys() & against.keys())]
    if not pairs:
        reason = f"there is no seed with which both were trained: {', '.join(alone)}"
        return verdict(NOT_TESTABLE, reason, without_partner=alone)
    seeds = tuple(one.seed for one, _ in pairs)
    verdict = functools.partial(verdict, seeds=seeds, without_partner=alone)
    if reason := _unfit(pairs, drawing):
        return verdict(NOT_TESTABLE, reason)
    found = [compare_accuracy(claim, *pair, seeds=len(pairs) > 1) for pair in pairs]
    if not all(found):
        return verdict(NOT_TESTABLE, "no exit needs about the same MACs")
    comparisons = tuple(comparison for of_seed in found for comparison in of_seed)
    others = other_than_plotted(entering_counts(claim, pairs), drawing.dataset)
    of_seeds = "; ".join((f"seed{'s' * (len(seeds) > 1)} {' and '.join(map(str, seeds))}", *alone))
    finding = f"{_finding(comparisons)} ({of_seeds}){_not_plotted(others)}"
    if not (short := _too_short(claim, drawing, [record for pair in pairs for record in pair])):
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


def _unfit(pairs: Sequence[tuple[TrainingRecord, TrainingRecord]], drawing: Drawing) -> str:
    """Return why trainings cannot be compared, empty if they can."""
    for pair in pairs:
        for record in pair:
            if found := deviation(record, drawing):
                return f"{drawing.names[record.network]} of seed {record.seed} {found}"
        one, other = pair
        if (one.epochs, one.images, one.test_images) != (other.epochs, other.images, other.test_images):
            unequal = " and ".join(f"{each.budget} (tested on {each.test_images:,})" for each in pair)
            return f"they were trained or tested unequally: {unequal}"
        if one.fingerprint != other.fingerprint:
            unequal = " and ".join(each.fingerprint[:12] for each in pair)
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


def _word(comparisons: Sequence[Comparison], other_counts: Sequence[str], accuracy: bool) -> str:
    if other_counts:
        return HOLDS_FOR_OURS if _hold(comparisons) else FAILS_FOR_OURS
    if _hold(comparisons):
        return CONFIRMED
    contrary = accuracy and any(found.holds is False and found.high < 0 for found in comparisons)
    return CONTRADICTED if contrary else NOT_CONFIRMED


def _hold(comparisons: Sequence[Comparison]) -> bool:
    return all(found.holds is not False for found in comparisons)
