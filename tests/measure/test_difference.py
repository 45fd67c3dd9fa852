"""The comparison of two classifiers against the binomial formula, scipy, and simulations with a known truth."""

from math import comb

import numpy as np
import pytest
import torch
from scipy import stats

from leannet.measure import measure_difference


def answers(both, only_first, only_second, neither):
    """Return the two rows of right answers of a table."""
    first = [True] * (both + only_first) + [False] * (only_second + neither)
    second = [True] * both + [False] * only_first + [True] * only_second + [False] * neither
    return torch.tensor(first), torch.tensor(second)


def exact_p(b, c):
    """Compute McNemar's exact p by its formula: twice the smaller tail of a fair coin, at most 1."""
    return min(1.0, 2 * sum(comb(b + c, k) for k in range(min(b, c) + 1)) / 2 ** (b + c))


@pytest.mark.parametrize(("b", "c"), [(5, 15), (15, 5), (0, 6), (6, 0), (1, 1), (3, 4), (40, 70), (0, 0), (0, 1)])
def test_p_value_is_that_of_the_formula(b, c):
    difference = measure_difference(*answers(50, b, c, 20))
    assert (difference.images, difference.only_first, difference.only_second) == (70 + b + c, b, c)
    assert difference.p_value == pytest.approx(exact_p(b, c))
    assert difference.points.value == pytest.approx(100 * (c - b) / (70 + b + c))


def test_p_value_by_hand():
    """Six to none: two of the 64 ways in which six coins can fall."""
    assert measure_difference(*answers(10, 0, 6, 0)).p_value == pytest.approx(2 / 64)
    assert measure_difference(*answers(10, 0, 6, 0)).shown
    assert not measure_difference(*answers(10, 0, 5, 0)).shown


def test_network_against_itself():
    right = torch.tensor([True, False, True, True])
    difference = measure_difference(right, right)
    assert (difference.points.value, difference.points.low, difference.points.high) == (0, 0, 0)
    assert difference.p_value == 1
    assert difference.sentence("a", "b").startswith("no difference shown: +0.00 points")


def test_the_other_way_round_is_the_negative():
    first, second = answers(60, 9, 25, 6)
    forth, back = measure_difference(first, second), measure_difference(second, first)
    assert forth.p_value == pytest.approx(back.p_value)
    assert forth.points.value == pytest.approx(-back.points.value)
    assert (forth.points.low, forth.points.high) == pytest.approx((-back.points.high, -back.points.low), abs=1.01)


def test_interval_is_scipys_bootstrap():
    first, second = answers(600, 40, 90, 70)
    interval = measure_difference(first, second).points
    steps = (second.double() - first.double()).numpy()
    expected = stats.bootstrap((100 * steps,), np.mean, method="percentile", n_resamples=9999, rng=1)
    low, high = expected.confidence_interval
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.15)
    assert interval.method == "paired bootstrap over images, 10000 resamples, percentiles"


def test_interval_holds_a_known_difference():
    """Both are right on 80 % of images, one alone on 4 %, the other alone on 9 %: the truth is 5 points."""
    random = np.random.default_rng(0)
    held = shown = 0
    for _ in range(200):
        kind = random.choice(4, 800, p=[0.8, 0.04, 0.09, 0.07])
        difference = measure_difference(torch.from_numpy(kind <= 1), torch.from_numpy((kind == 0) | (kind == 2)))
        held += difference.points.low <= 5 <= difference.points.high
        shown += difference.shown
    assert 180 <= held <= 198  # 95 % of 200, and what chance allows
    assert shown > 180


def test_equal_classifiers_are_seldom_called_different():
    random = np.random.default_rng(0)
    shown = 0
    for _ in range(400):
        first, second = torch.from_numpy(random.random((2, 300)) < 0.8)
        shown += measure_difference(first, second).shown
    assert shown <= 400 * 0.05 + 10


def test_sentence_names_the_better_one():
    first, second = answers(100, 5, 25, 20)
    forth, back = measure_difference(first, second), measure_difference(second, first)
    assert forth.sentence("old", "new").startswith("new is better than old by 13.33 points (95 % interval ")
    assert back.sentence("old", "new").startswith("old is better than new by 13.33 points (95 % interval ")
    assert forth.sentence("old", "new").endswith("; McNemar p = 0.00032)")
    assert f"{exact_p(5, 25):.2g}" == "0.00032"
    assert "McNemar p < 0.0001)" in measure_difference(*answers(100, 5, 60, 20)).sentence("old", "new")


def test_sentence_without_a_difference():
    said = measure_difference(*answers(80, 4, 6, 10)).sentence("old", "new")
    assert said.startswith("no difference shown: +2.00 points (95 % interval -")
    assert said.endswith("; McNemar p = 0.75)")


def test_exact_test_decides_where_the_interval_is_too_narrow():
    difference = measure_difference(*answers(340, 2, 9, 8))
    assert difference.points.low > 0
    assert difference.p_value == pytest.approx(exact_p(2, 9))
    said = difference.sentence("old", "new")
    assert said.startswith("no difference shown: +1.95 points (95 % interval +")
    assert said.endswith("; McNemar p = 0.065, which decides)")


@pytest.mark.parametrize("sizes", [((2,), (3,)), ((0,), (0,)), ((2, 2), (2, 2))])
def test_answers_to_other_images_are_refused(sizes):
    with pytest.raises(ValueError, match="not to the same images"):
        measure_difference(*(torch.ones(size, dtype=torch.bool) for size in sizes))
