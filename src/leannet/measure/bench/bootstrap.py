"""The interval of a median over rounds, also where a round resembles the one before it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from leannet.measure.intervals import Interval

__all__ = ["RESAMPLES", "block_length", "median_interval"]

RESAMPLES = 2000

_LEAST_FOR_BOOTSTRAP = 20  # rounds; fewer resemble too little what they were drawn from, and tell no correlation


def median_interval(values: Sequence[float], *, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """Compute the median and its 95 % bootstrap interval.

    Rounds are drawn one at a time, or in blocks of neighbours where neighbours resemble each other (`block_length`):
    a machine that is slow for a while is slow for several rounds, and drawing them one by one would promise too much.

    Args:
        values: One for each round, in their order, at least one.
        seed: Of the draws.
        resamples: How many times rounds are drawn.

    Returns:
        In the unit of the values; of a single value, the interval has no width and says so. Of fewer than 20 rounds, of
        which a bootstrap promises too much, it reaches from one round to another, so that it holds the median of any
        distribution in at least 95 % of cases; of fewer than six, which cannot do that, from the least to the greatest.

    Raises:
        ValueError: There are no values.

    Source: Efron (1979), "Bootstrap methods: another look at the jackknife"; percentiles. Blocks: Politis and Romano
    (1992), "A circular block-resampling procedure for stationary data". Few rounds: Thompson (1936), "On confidence
    ranges for the median and other expectation distributions for populations of unknown distribution form".
    """
    if not values:
        raise ValueError("no values, no median")
    series = np.asarray(values, dtype=np.float64)
    rounds = len(series)
    value = float(np.median(series))
    if rounds == 1:
        return Interval(value, value, value, "one round: no interval")
    if rounds < _LEAST_FOR_BOOTSTRAP:
        outside = _rounds_outside(rounds)
        low, high = (float(end) for end in np.sort(series)[[outside, -1 - outside]])
        return Interval(value, low, high, f"order statistics {outside + 1} and {rounds - outside} of {rounds} rounds")
    length = block_length(values)
    starts = np.random.default_rng(seed).integers(0, rounds, (resamples, math.ceil(rounds / length)))
    drawn = (starts[:, :, None] + np.arange(length)).reshape(resamples, -1)[:, :rounds] % rounds
    medians = np.median(series[drawn], axis=1)
    # Ends that were drawn, not ends between two of them: rather a little too wide.
    low = float(np.quantile(medians, 0.025, method="lower"))
    high = float(np.quantile(medians, 0.975, method="higher"))
    blocks = f", blocks of {length}" if length > 1 else ""
    return Interval(value, low, high, f"bootstrap of {rounds} rounds{blocks}, {resamples} resamples, percentiles")


def _rounds_outside(rounds: int) -> int:
    """Return how many rounds may lie on each side of an interval of the median of any distribution, of 95 % or more."""
    outside, chance = 0, 0.0
    while (chance := chance + math.comb(rounds, outside) / 2**rounds) <= 0.025:
        outside += 1
    return max(outside - 1, 0)


def block_length(values: Sequence[float]) -> int:
    """Choose how many neighbouring rounds are drawn together.

    What counts for a median is on which side of it a value lies; so the correlation of neighbours is taken of that.

    Args:
        values: One for each round, in their order.

    Returns:
        1 if the correlation r of neighbours is within chance (two standard errors), else
        ``(2 r / (1 - r^2))^(2/3) n^(1/3)``, rounded up, at most a quarter of the n rounds.

    Source: Carlstein (1986), "The use of subseries values for estimating the variance of a general statistic from a
    stationary sequence", for a process in which each value hangs on the one before.
    """
    rounds = len(values)
    if rounds < _LEAST_FOR_BOOTSTRAP:
        return 1
    series = np.asarray(values, dtype=np.float64)
    side = np.sign(series - np.median(series))
    power = float((side**2).sum())
    correlation = float((side[1:] * side[:-1]).sum()) / power if power else 0.0
    if correlation <= 2 / math.sqrt(rounds):
        return 1
    correlation = min(correlation, 0.99)
    length = (2 * correlation / (1 - correlation**2)) ** (2 / 3) * rounds ** (1 / 3)
    return min(math.ceil(length), rounds // 4)
