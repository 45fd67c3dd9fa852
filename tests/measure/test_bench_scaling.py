"""MACs beside time: against scipy, against counting by hand, and on data of a known law."""

import numpy as np
import pytest
from scipy.stats import linregress, spearmanr

from leannet.measure.bench import measure_scaling

MACS = [20e6, 50e6, 100e6, 220e6, 390e6, 600e6, 900e6, 1500e6]


def law(exponent, noise=0.03, seed=0):
    random = np.random.default_rng(seed)
    return [1e-7 * count**exponent * random.lognormal(0, noise) for count in MACS]


@pytest.mark.parametrize("exponent", [0.6, 1.0, 1.3])
def test_the_law_is_found(exponent):
    found = measure_scaling(MACS, law(exponent))
    assert found.networks == len(MACS)
    assert found.exponent.value == pytest.approx(exponent, abs=0.05)
    assert found.exponent.low <= exponent <= found.exponent.high
    assert found.follows
    words = {0.6: "but not linearly: it grows slower", 1.0: "and linearly", 1.3: "but not linearly: it grows faster"}
    assert words[exponent] in found.word


def test_figures_are_those_of_scipy():
    times = [3.0, 2.0, 5.0, 9.0, 4.0, 8.0, 8.0, 7.0]
    found = measure_scaling(MACS, times)
    theirs = spearmanr(MACS, times)
    assert found.rank_correlation.value == pytest.approx(theirs.statistic)
    assert found.p_value == pytest.approx(theirs.pvalue)
    line = linregress(np.log(MACS), np.log(times))
    assert found.exponent.value == pytest.approx(line.slope)
    # Student's quantile for six degrees of freedom, from a printed table.
    assert found.exponent.high - found.exponent.value == pytest.approx(2.447 * line.stderr, rel=1e-3)
    assert found.rank_correlation.low < found.rank_correlation.value < found.rank_correlation.high <= 1


@pytest.mark.parametrize(("count", "p_value"), [(4, 2 / 24), (5, 2 / 120), (6, 2 / 720)])
def test_chance_of_a_perfect_order(count, p_value):
    found = measure_scaling(MACS[:count], MACS[:count])
    assert found.rank_correlation.value == pytest.approx(1)
    assert found.p_value == pytest.approx(p_value)
    assert found.follows is (count > 4)


def test_times_that_have_nothing_to_do_with_macs():
    found = measure_scaling(MACS, [5.0, 4.0, 6.0, 5.5, 4.5, 5.2, 4.9, 5.1])
    assert not found.follows
    assert found.word == "not shown that time follows MACs"
    falling = measure_scaling(MACS, [float(time) for time in range(8, 0, -1)])
    assert falling.p_value < 0.01
    assert not falling.follows


def test_coverage_of_the_exponent():
    held = 0
    for seed in range(200):
        found = measure_scaling(MACS, law(0.8, noise=0.2, seed=seed))
        held += found.exponent.low <= 0.8 <= found.exponent.high
    assert held / 200 == pytest.approx(0.95, abs=0.045)  # three standard errors


@pytest.mark.parametrize(
    ("macs", "times"),
    [
        (MACS[:3], [1.0, 2.0, 3.0]),
        ([5e6] * 4, [1.0, 2.0, 3.0, 4.0]),
        (MACS[:4], [1.0] * 4),
        ([0, 1, 2, 3], [1, 2, 3, 4]),
    ],
)
def test_too_little_to_say_anything(macs, times):
    assert measure_scaling(macs, times) is None


def test_lengths_must_fit():
    with pytest.raises(ValueError, match="4 networks have 3 times"):
        measure_scaling(MACS[:4], [1.0, 2.0, 3.0])
