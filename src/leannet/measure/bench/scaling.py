"""MACs beside time: whether the one follows the other, and whether linearly."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leannet.measure.bench.bootstrap import RESAMPLES
from leannet.measure.intervals import Interval

__all__ = ["SCALING_RULE", "Scaling", "measure_scaling"]

LEAST_NETWORKS = 4
_SIGNIFICANT = 0.05
_ALL_ORDERS_UP_TO = 7  # networks: 5,040 orders

SCALING_RULE = (
    "Time is said to follow MACs if their rank correlation is positive, its bootstrap interval excludes 0, and chance "
    "alone gives one as far from 0 in less than 5 % of cases, which takes five networks or more. time = factor * "
    "MACs^exponent is fitted on logarithmic scales: time grows linearly with MACs where the exponent is 1."
)

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scaling:
    """How the time of several networks hangs on their MACs."""

    networks: int

    rank_correlation: Interval
    """Spearman's, with a bootstrap interval over networks."""

    p_value: float
    """How often chance alone gives a rank correlation as far from 0, either way."""

    exponent: Interval
    """Of MACs in ``time = factor * MACs^exponent``, with Student's interval."""

    @property
    def follows(self) -> bool:
        """Whether it is shown that networks of more MACs take more time."""
        return self.rank_correlation.low > 0 and self.p_value < _SIGNIFICANT

    @property
    def opposes(self) -> bool:
        """Whether it is shown that networks of more MACs take less time."""
        return self.rank_correlation.high < 0 and self.p_value < _SIGNIFICANT

    @property
    def word(self) -> str:
        """The finding in words."""
        if not self.follows:
            return "not shown that time follows MACs"
        low, high = self.exponent.low, self.exponent.high
        if low <= 1 <= high:
            return "time follows MACs, and linearly as far as these networks tell"
        return f"time follows MACs, but not linearly: it grows {'slower' if high < 1 else 'faster'} than they do"


def measure_scaling(macs: Sequence[float], times: Sequence[float], *, seed: int = 0) -> Scaling | None:
    """Compare networks' MACs with their median times.

    Args:
        macs: Multiply-accumulates of each network.
        times: Its time in any unit, in the same order.
        seed: Of the bootstrap.

    Returns:
        The comparison; None for fewer than four networks, or if all MACs or all times are equal, or one is 0.

    Raises:
        ValueError: There are not as many times as MACs.

    Source: Spearman (1904), "The proof and measurement of association between two things". The exponent is the slope of
    the least-squares line through the logarithms.
    """
    if len(macs) != len(times):
        raise ValueError(f"{len(macs)} networks have {len(times)} times")
    count = len(macs)
    if count < LEAST_NETWORKS or min(len(set(macs)), len(set(times))) < 2 or min(*macs, *times) <= 0:
        return None
    from scipy.stats import linregress, rankdata, t  # imported here since it takes long

    x, y = np.asarray(macs, dtype=np.float64), np.asarray(times, dtype=np.float64)
    ranks_x, ranks_y = rankdata(x), rankdata(y)
    correlation = float(_correlations(ranks_x[None], ranks_y[None])[0])
    drawn = np.random.default_rng(seed).integers(0, count, (RESAMPLES, count))
    resampled = _correlations(rankdata(x[drawn], axis=1), rankdata(y[drawn], axis=1))
    low, high = np.nanquantile(resampled, (0.025, 0.975))
    line = linregress(np.log(x), np.log(y))
    half = float(t.ppf(0.975, count - 2)) * float(line.stderr)
    slope = float(line.slope)
    return Scaling(
        networks=count,
        rank_correlation=Interval(
            correlation, float(low), float(high), f"bootstrap over {count} networks, percentiles"
        ),
        p_value=_p_value(ranks_x, ranks_y, correlation),
        exponent=Interval(slope, slope - half, slope + half, f"Student, {count} networks"),
    )


def _correlations(first: Array, second: Array) -> Array:
    """Return Pearson's correlation of each pair of rows; not a number where a row is constant."""
    first, second = first - first.mean(axis=1, keepdims=True), second - second.mean(axis=1, keepdims=True)
    power = (first**2).sum(axis=1) * (second**2).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(power > 0, (first * second).sum(axis=1) / np.sqrt(power), np.nan)


def _p_value(first: Array, second: Array, correlation: float) -> float:
    """Count the orders that correlate as much; of many networks, take Student's approximation."""
    if math.isnan(correlation):
        return 1.0
    if len(first) <= _ALL_ORDERS_UP_TO:
        orders = np.asarray(list(itertools.permutations(second)))
        found = _correlations(np.broadcast_to(first, orders.shape), orders)
        return float((np.abs(found) >= abs(correlation) - 1e-9).mean())
    from scipy.stats import t

    freedom = len(first) - 2
    statistic = abs(correlation) * math.sqrt(freedom / max(1 - correlation**2, 1e-15))
    return float(2 * t.sf(statistic, freedom))
