"""95 % intervals of an accuracy, and of the difference of two."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Interval", "mean_interval", "newcombe_interval", "seeds_interval", "wilson_interval"]

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


def mean_interval(accuracies: Sequence[float], images: int) -> Interval:
    """Compute the 95 % interval of the mean accuracy over seeds, for chance in training and in the choice of images.

    Both half widths are squared and added on each side. What chance in the images makes the seeds differ is counted
    twice, so the interval is rather too wide.

    Args:
        accuracies: Percent, one for each seed.
        images: On which each seed was judged, the same for all.

    Returns:
        Percent; of one seed Wilson's interval alone.

    Source: Zou and Donner (2008), "Construction of confidence limits about effect measures: a general approach"; the
    two kinds of chance as in Bouthillier et al. (2021), "Accounting for variance in machine learning benchmarks".
    """
    mean = statistics.fmean(accuracies)
    chosen = wilson_interval(round(mean / 100 * images), images)
    if len(accuracies) == 1:
        return Interval(mean, chosen.low, chosen.high, chosen.method)
    seeds = seeds_interval(accuracies)
    low = mean - math.hypot(chosen.value - chosen.low, mean - seeds.low)
    high = mean + math.hypot(chosen.high - chosen.value, seeds.high - mean)
    method = f"Student over {len(accuracies)} seeds and Wilson over images, squared and added"
    return Interval(mean, max(0.0, low), min(100.0, high), method)


def newcombe_interval(first: Interval, second: Interval) -> Interval:
    """Compute the 95 % interval of the difference of two shares, first less second, from their own intervals.

    Args:
        first: Percent, by `wilson_interval` or `mean_interval`.
        second: The same.

    Returns:
        Percentage points.

    Source: Newcombe (1998), "Interval estimation for the difference between independent proportions", method 10.
    """
    difference = first.value - second.value
    low = difference - math.hypot(first.value - first.low, second.high - second.value)
    high = difference + math.hypot(first.high - first.value, second.value - second.low)
    return Interval(difference, low, high, "Newcombe, hybrid score, independent")
