"""95 % intervals of an accuracy."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Interval", "seeds_interval", "wilson_interval"]

_NORMAL_QUANTILE = 1.959963984540054  # two-sided 95 %


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval and how it was obtained; all three in the same unit."""

    value: float
    low: float
    high: float
    method: str


def wilson_interval(correct: int, total: int) -> Interval:
    """Compute Wilson's score interval of a share: how far the test images alone leave it open.

    Args:
        correct: Number of correct answers.
        total: Number of answers, at least 1.

    Returns:
        Percent.

    Source: Wilson (1927), "Probable inference, the law of succession, and statistical inference".
    """
    if not 0 <= correct <= total or total < 1:
        raise ValueError(f"cannot be {correct} of {total}")
    share, z2 = correct / total, _NORMAL_QUANTILE**2
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = _NORMAL_QUANTILE / (1 + z2 / total) * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    return Interval(100 * share, 100 * max(0.0, centre - half), 100 * min(1.0, centre + half), "Wilson, one seed")


def seeds_interval(accuracies: Sequence[float]) -> Interval:
    """Compute Student's interval of the mean over seeds: how far chance in training leaves it open.

    Args:
        accuracies: Percent, one for each seed, at least two.

    Returns:
        Percent; the ends are kept within 0 and 100.
    """
    if len(accuracies) < 2:
        raise ValueError("an interval across seeds needs at least two of them")
    from scipy.stats import t  # comes with scikit-learn; imported here since it takes long

    mean = statistics.fmean(accuracies)
    error = statistics.stdev(accuracies) / math.sqrt(len(accuracies))
    half = float(t.ppf(0.975, len(accuracies) - 1)) * error
    return Interval(mean, max(0.0, mean - half), min(100.0, mean + half), f"Student, {len(accuracies)} seeds")
