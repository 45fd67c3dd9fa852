"""Intervals against scipy."""

import math
import statistics

import pytest
from scipy import stats

from leannet.measure import seeds_interval, wilson_interval


@pytest.mark.parametrize(
    ("correct", "total"),
    [(0, 1), (1, 1), (0, 10), (10, 10), (5, 10), (1, 3), (887, 1000), (9174, 10000), (49999, 50000)],
)
def test_wilson_interval_is_scipys(correct, total):
    interval = wilson_interval(correct, total)
    expected = stats.binomtest(correct, total).proportion_ci(confidence_level=0.95, method="wilson")
    assert interval.value == pytest.approx(100 * correct / total)
    assert interval.low == pytest.approx(100 * expected.low, abs=1e-9)
    assert interval.high == pytest.approx(100 * expected.high, abs=1e-9)
    assert 0 <= interval.low <= interval.value + 1e-9
    assert interval.value - 1e-9 <= interval.high <= 100
    assert interval.method == "Wilson, one seed"


@pytest.mark.parametrize(("correct", "total"), [(-1, 10), (11, 10), (0, 0), (1, 0)])
def test_a_share_that_cannot_be_is_refused(correct, total):
    with pytest.raises(ValueError, match=f"cannot be {correct} of {total}"):
        wilson_interval(correct, total)


@pytest.mark.parametrize("accuracies", [[90.0, 91.0], [88.66, 89.25, 88.79], [93.36, 93.0, 93.5, 93.1, 93.2]])
def test_interval_across_seeds_is_scipys(accuracies):
    interval = seeds_interval(accuracies)
    mean = statistics.fmean(accuracies)
    error = statistics.stdev(accuracies) / math.sqrt(len(accuracies))
    low, high = stats.t.interval(0.95, len(accuracies) - 1, loc=mean, scale=error)
    assert (interval.value, interval.low, interval.high) == pytest.approx((mean, low, high))
    assert interval.method == f"Student, {len(accuracies)} seeds"


def test_the_ends_stay_within_percent():
    interval = seeds_interval([99.0, 100.0])
    assert interval.high == 100
    assert interval.low == pytest.approx(99.5 - 12.7062 * 0.5, abs=1e-3)
    assert seeds_interval([0.0, 1.0]).low == 0


def test_equal_seeds_leave_nothing_open():
    interval = seeds_interval([90.0, 90.0, 90.0])
    assert (interval.low, interval.value, interval.high) == (90, 90, 90)


@pytest.mark.parametrize("accuracies", [[], [90.0]])
def test_one_seed_is_no_interval(accuracies):
    with pytest.raises(ValueError, match="at least two"):
        seeds_interval(accuracies)
