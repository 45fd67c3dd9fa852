"""What becomes of the claims that a paper makes about its tables, by `leannet.papers.reproduce.RULE`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import partial

from leannet.measure import Interval, newcombe_interval
from leannet.measure.bench import Scaling, measure_scaling, median_interval
from leannet.papers.claims import Claim, load_claims
from leannet.papers.published import Figure, agrees, load_paper
from leannet.papers.reproduce.comparisons import Comparison
from leannet.papers.reproduce.drawings import dataset_title
from leannet.papers.reproduce.rule import (
    CONFIRMED,
    CONTRADICTED,
    ENOUGH,
    FAILS_FOR_OURS,
    HOLDS_FOR_OURS,
    LEAST_SEEDS,
    LINEAR,
    NOT_AT_THIS_BUDGET,
    NOT_CONFIRMED,
    NOT_TESTABLE,
    ONE_SEED,
    left_seeds_text,
)
from leannet.papers.reproduce.verdicts import Verdict
from leannet.papers.tables.evidence import Evidence, count
from leannet.papers.tables.experiment import DATASETS, Timing
from leannet.papers.tables.rows import sizes_of
from leannet.papers.tables.timing import GroupTimes
from leannet.training import load_recipe

__all__ = ["judge_claims"]

DEVICES = {"cpu_ms": "cpu", "gpu_ms": "cuda"}


def judge_claims(evidence: Evidence, tables: tuple[str, ...] | None = None) -> tuple[Verdict, ...]:
    """Judge the claims of a paper, each on each of its data sets.

    Args:
        evidence: What ours came to.
        tables: Only those that name one of these tables; all if None.
    """
    chosen = [
        claim
        for claim in load_claims(evidence.experiment.paper)
        if tables is None or any(table in (*claim.tables, claim.network) for table in tables)
    ]
    return tuple(_judge(claim, dataset, evidence) for claim in chosen for dataset in claim.datasets)


def _judge(claim: Claim, dataset: str, evidence: Evidence) -> Verdict:
    if claim.compared == "scaling":
        return _judge_scaling(claim, partial(Verdict, claim, dataset, None), evidence)
    both = tuple(_printed(evidence, name, claim.quantity, dataset, claim) for name in (claim.network, claim.against))
    verdict = partial(Verdict, claim, dataset, _printed_difference(claim, both))
    if claim.quantity in DEVICES:
        return _judge_time(claim, verdict, evidence)
    if claim.quantity == "top1":
        return _judge_accuracy(claim, dataset, verdict, evidence)
    return _judge_count(claim, verdict, evidence, both)


def _printed(evidence: Evidence, network: str, quantity: str, dataset: str, claim: Claim) -> Figure | None:
    """Return the printed figure of a network, in the table that the claim names where several have it."""
    found = [
        figure
        for figure in load_paper(evidence.experiment.paper).figures
        if (figure.network, figure.quantity) == (network, quantity) and figure.dataset in (dataset, None)
    ]
    named = [figure for figure in found if figure.table in claim.tables]
    return next(iter((*named, *found)), None)


def _printed_difference(claim: Claim, both: tuple[Figure | None, ...]) -> tuple[float, float] | None:
    ours, against = both
    if ours is None or against is None:
        return None
    relative = claim.unit == "%"
    found = 100 * (ours.value / against.value - 1) if relative else ours.value - against.value
    return found, found


def _judge_count(
    claim: Claim, verdict: Callable[..., Verdict], evidence: Evidence, both: tuple[Figure | None, ...]
) -> Verdict:
    counted, others = [], []
    for figure in both:
        assert figure is not None, f"{claim.says}: nothing printed"
        img_size = evidence.experiment.timing_of(figure.table).img_size
        classes, size = sizes_of(figure.network, {figure.quantity: figure}, img_size)
        value = count(figure.network, classes, size)[0 if claim.quantity == "params" else 1]
        counted.append(value)
        if not agrees(value, figure):
            others.append(f"{figure.network} {value / 1e6:,.3f} M for {figure.value / 1e6:,.3f} M")
    difference = 100 * (counted[0] / counted[1] - 1)
    holds = _reaches(difference, claim)
    found = Comparison("counted", difference, difference, difference, holds)
    word = (HOLDS_FOR_OURS if holds else FAILS_FOR_OURS) if others else (CONFIRMED if holds else CONTRADICTED)
    reason = f"counted: {difference:+.1f} % ({counted[0] / 1e6:,.3f} M against {counted[1] / 1e6:,.3f} M)"
    beside = f"; but these counts of ours are not the printed ones: {', '.join(others)}" if others else ""
    return verdict(word, reason + beside, (found,))


def _reaches(difference: float, claim: Claim) -> bool:
    """Say whether a difference lies on the claimed side, by at least the printed one in its printed places."""
    sign = -1 if claim.side == "below" else 1
    least = min(sign * number for number in claim.printed) if claim.printed else 0.0
    places = max(
        (max(0, -int(Decimal(str(number)).normalize().as_tuple().exponent)) for number in claim.printed), default=1
    )
    return sign * difference > 0 and round(sign * difference, places) >= least


def _judge_time(claim: Claim, verdict: Callable[..., Verdict], evidence: Evidence) -> Verdict:
    device = DEVICES[claim.quantity]
    timed = _ratio(claim, evidence, device)
    if timed is not None:
        ratio, group = timed
        found = _ratio_comparison("on the GPU" if device == "cuda" else "on the CPU", ratio, claim)
        told = f"time as a multiple: {_interval_text(ratio)}; {group.circumstances}"
        return verdict(_word(claim, found), told + _unsettled(group, (claim.network, claim.against)), (found,))
    beside = _ratio(claim, evidence, "cpu") if device == "cuda" else None
    if beside is None:
        return verdict(NOT_TESTABLE, f"nothing was timed on the {'GPU' if device == 'cuda' else 'CPU'}")
    found = _ratio_comparison("on the CPU, for information", beside[0], claim)
    reason = f"nothing was timed on a GPU; on the CPU the time is {_interval_text(beside[0])} times the other's"
    return verdict(NOT_TESTABLE, reason, (Comparison(found.where, found.value, found.low, found.high, None),))


def _ratio(claim: Claim, evidence: Evidence, device: str) -> tuple[Interval, GroupTimes] | None:
    for timing in _timings_for(claim, evidence):
        ratio = evidence.ratio(claim.network, claim.against, timing, device)
        if ratio is not None:
            return ratio, evidence.times[timing.name, device]
    return None


def _timings_for(claim: Claim, evidence: Evidence) -> list[Timing]:
    """Return the timings, those of the tables that the claim names first."""
    named = set(claim.tables)
    return sorted(evidence.experiment.timings, key=lambda timing: not named & set(timing.tables))


def _ratio_comparison(where: str, ratio: Interval, claim: Claim) -> Comparison:
    value, low, high = (100 * (number - 1) for number in (ratio.value, ratio.low, ratio.high))
    return Comparison(where, value, low, high, _holds(claim, low, high))


def _judge_scaling(claim: Claim, verdict: Callable[..., Verdict], evidence: Evidence) -> Verdict:
    timing = evidence.experiment.timing_of(claim.network)
    group = evidence.times.get((timing.name, DEVICES[claim.quantity]))
    if group is None:
        return verdict(NOT_TESTABLE, f"nothing was timed on the {'GPU' if claim.quantity == 'gpu_ms' else 'CPU'}")
    seconds = group.rounds.seconds
    macs = [count(name, timing.num_classes, timing.img_size)[1] for name in seconds]
    scaling = measure_scaling(macs, [median_interval(list(each)).value for each in seconds.values()])
    if scaling is None:
        return verdict(NOT_TESTABLE, "too few networks were timed")
    rank, exponent = scaling.rank_correlation, scaling.exponent
    figures = (
        f"rank correlation {rank.value:.2f}, 95 % interval {rank.low:.2f} to {rank.high:.2f}, "
        f"p = {scaling.p_value:.3f}; time = factor * MACs^{exponent.value:.2f}, 95 % interval {_ends(exponent)}; "
        f"{group.circumstances}{_unsettled(group, seconds)}"
    )
    word, told = _scaling_word(claim, scaling)
    return verdict(word, f"{told} ({figures})")


def _unsettled(group: GroupTimes, networks: Iterable[str]) -> str:
    """Name the networks whose times still changed when timing began; a ratio within rounds bears that."""
    names = [name for name in networks if not group.rounds.stable[name]]
    return f"; times of {', '.join(names)} had not settled before" if names else ""


def _scaling_word(claim: Claim, scaling: Scaling) -> tuple[str, str]:
    rank, exponent = scaling.rank_correlation, scaling.exponent
    if claim.side == "below":  # it hardly follows
        if rank.high < claim.margin:
            return CONFIRMED, f"the rank correlation lies below {claim.margin:g}"
        above = rank.low > claim.margin
        told = f"the rank correlation {'lies above' if above else 'may lie on either side of'} {claim.margin:g}"
        return (CONTRADICTED if above else NOT_CONFIRMED), told
    if scaling.opposes:
        return CONTRADICTED, "networks of more MACs take less time"
    if scaling.follows and LINEAR[0] < exponent.low and exponent.high < LINEAR[1]:
        return CONTRADICTED, "time follows MACs, and about linearly"
    if scaling.follows and not exponent.low <= 1 <= exponent.high:
        return CONFIRMED, scaling.word
    return NOT_CONFIRMED, scaling.word


def _judge_accuracy(claim: Claim, dataset: str, verdict: Callable[..., Verdict], evidence: Evidence) -> Verdict:
    both = (claim.network, claim.against)
    if missing := [name for name in both if name not in evidence.records]:
        return verdict(NOT_TESTABLE, f"there is no record of {' nor of '.join(missing)}")
    ours, against = (evidence.records[name] for name in both)
    seeds = tuple(record.seed for record in ours)
    if seeds != tuple(record.seed for record in against):
        return verdict(NOT_TESTABLE, "the two were trained with other seeds: some trainings are not finished yet")
    first, second = (evidence.top1(name) for name in both)
    assert first is not None
    assert second is not None
    difference = newcombe_interval(first, second)
    holds = _holds(claim, difference.low, difference.high)
    trained = dataset_title(evidence.dataset or evidence.data)
    found = Comparison(
        f"on {trained}, {len(seeds)} seed{'s' * (len(seeds) > 1)}",
        difference.value,
        difference.low,
        difference.high,
        holds,
    )
    word, told = _word(claim, found), _told(claim, found)
    verdict = partial(verdict, comparisons=(found,), seeds=seeds)
    if dataset != evidence.dataset:
        what = f"trained on {trained} ({ours[0].budget}), and not on {dataset_title(dataset)}. There {told}"
        return verdict(NOT_TESTABLE, what)
    recipe = load_recipe(evidence.experiment.recipes[claim.network])
    needed = ENOUGH * recipe.epochs * DATASETS[dataset]["train"]
    if min(record.epochs * record.images for record in (*ours, *against)) < needed:
        whole = f"{recipe.epochs} epochs of {DATASETS[dataset]['train']:,} images"
        return verdict(
            NOT_AT_THIS_BUDGET, f"trained for {ours[0].budget}, and the recipe takes {whole}. At this budget {told}"
        )
    if left := left_seeds_text(evidence.budget.seeds, seeds):
        return verdict(NOT_TESTABLE, f"{left}. Without that {told}")
    if len(seeds) < LEAST_SEEDS:
        return verdict(NOT_AT_THIS_BUDGET, f"{ONE_SEED}. With it {told}")
    return verdict(word, told)


def _holds(claim: Claim, low: float, high: float) -> bool:
    if claim.side == "below":
        return high < 0
    return low > -claim.margin if claim.side == "not_below" else low > 0


def _contrary(claim: Claim, found: Comparison) -> bool:
    if claim.side == "below":
        return found.low > 0
    return found.high < (-claim.margin if claim.side == "not_below" else 0)


def _word(claim: Claim, found: Comparison) -> str:
    if found.holds:
        return CONFIRMED
    return CONTRADICTED if _contrary(claim, found) else NOT_CONFIRMED


def _told(claim: Claim, found: Comparison) -> str:
    edge = f"{-claim.margin:g}" if claim.side == "not_below" else "0"
    if found.holds:
        return "it holds"
    return "the opposite holds" if _contrary(claim, found) else f"nothing is shown: the interval includes {edge}"


def _interval_text(interval: Interval) -> str:
    return f"{interval.value:.3f} (95 % interval {_ends(interval)})"


def _ends(interval: Interval) -> str:
    return f"{interval.low:.3f} to {interval.high:.3f}"
