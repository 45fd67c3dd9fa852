"""What rounds come to: a record for each network."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from leannet.measure.bench.bootstrap import median_interval
from leannet.measure.bench.rounds import COPIES, LEAST_ROUNDS, RoundTimes
from leannet.measure.intervals import Interval

__all__ = ["Ratio", "Timing", "summarise"]


@dataclass(frozen=True)
class Ratio:
    """Time of a network divided by that of the reference in the same round: the median over rounds."""

    reference: str
    interval: Interval

    rounds: int
    """How many there were."""

    @property
    def word(self) -> str:
        """What the interval says: "faster" or "slower" only if it excludes 1, and is one of `LEAST_ROUNDS` or more."""
        if self.rounds < LEAST_ROUNDS:
            return "too few rounds to say"
        if self.interval.high < 1:
            return "faster"
        return "slower" if self.interval.low > 1 else "no difference shown"


@dataclass(frozen=True)
class Timing:
    """The time of one network, over the rounds of one measurement."""

    network: str

    median_ms: Interval
    """Of a call, that is of a batch."""

    p90_ms: float
    p99_ms: float

    images_per_second: float
    """At the median time of a call."""

    calls: int
    """How many were timed."""

    stable: bool
    """Whether it was warm when timing began."""

    ratio: Ratio | None
    """None for the reference, and where there is none."""


def summarise(times: RoundTimes, batch_size: int, reference: str | None, *, seed: int = 0) -> tuple[Timing, ...]:
    """Make the records.

    Args:
        times: From `leannet.measure.bench.time_in_rounds`.
        batch_size: Images in a call.
        reference: The network by which others are divided; None if that could not be timed.
        seed: Of the bootstrap.

    Returns:
        One record for each network, in the order of the times.

    Raises:
        KeyError: The reference was not timed.
    """
    divisor = None if reference is None else np.asarray(times.seconds[reference])
    records = []
    for network, seconds in times.seconds.items():
        milliseconds = 1000 * np.asarray(seconds)
        ratio = None
        if reference is not None and divisor is not None and network != reference:
            ratios = (np.asarray(seconds) / divisor).tolist()
            ratio = Ratio(reference, _interval(ratios, times.copies, seed), len(ratios))
        records.append(
            Timing(
                network=network,
                median_ms=_interval(milliseconds.tolist(), times.copies, seed),
                p90_ms=float(np.quantile(milliseconds, 0.9)),
                p99_ms=float(np.quantile(milliseconds, 0.99)),
                images_per_second=batch_size / statistics.median(seconds),
                calls=len(seconds),
                stable=times.stable[network],
                ratio=ratio,
            )
        )
    return tuple(records)


def _interval(values: Sequence[float], copies: int, seed: int) -> Interval:
    """Return the median with an interval that holds both what rounds and what copies leave open.

    However many rounds tell nothing of other places in memory: those are as many as there are copies. The extremes of
    `COPIES` hold the median of any distribution; of fewer, Student's interval of the mean logarithm is taken.
    """
    rounds = median_interval(values, seed=seed)
    apart = [statistics.median(values[first::copies]) for first in range(min(copies, len(values)))]
    if len(apart) == 1:
        return rounds
    low, high = min(apart), max(apart)
    if len(apart) < COPIES:
        from scipy.stats import t  # imported here since it takes long

        logs = [math.log(value) for value in apart]
        half = float(t.ppf(0.975, len(logs) - 1)) * statistics.stdev(logs) / math.sqrt(len(logs))
        low, high = (math.exp(statistics.fmean(logs) + end) for end in (-half, half))
    method = f"the wider of {rounds.method}, and between the medians of {len(apart)} copies"
    return Interval(rounds.value, min(rounds.low, low), max(rounds.high, high), method)
