"""Intervals of medians and of ratios: against theory, and on clocks that scatter, drift and stumble."""

import math
import statistics

import numpy as np
import pytest
from scipy.stats import binom
from winding_clock import WindingClock

from leannet.measure.bench import (
    COPIES,
    LEAST_ROUNDS,
    Ratio,
    RoundTimes,
    block_length,
    median_interval,
    summarise,
    time_in_rounds,
)
from leannet.measure.intervals import Interval

REFERENCE = "reference"


@pytest.fixture(autouse=True)
def _quick_collector(monkeypatch):
    """Collecting garbage before the rounds takes longer than all that is measured here."""
    monkeypatch.setattr("gc.collect", lambda: 0)


def covered(draw, truth, repeats, resamples=500):
    """Return the share of intervals that hold the truth."""
    intervals = [median_interval(draw(number).tolist(), resamples=resamples, seed=number) for number in range(repeats)]
    return np.mean([interval.low <= truth <= interval.high for interval in intervals])


@pytest.mark.parametrize("rounds", [15, 51, 101])
def test_the_ends_are_those_of_theory(rounds):
    """The bootstrap distribution of an odd sample's median is known exactly (Efron 1979, section 3)."""
    values = np.random.default_rng(3).permutation(np.arange(1.0, rounds + 1))
    # P(median of the resample <= k) = P(more than half of the draws <= k).
    at_most = binom.sf(rounds // 2, rounds, np.arange(1, rounds + 1) / rounds)
    low, high = (int(np.searchsorted(at_most, share)) + 1 for share in (0.025, 0.975))
    found = median_interval(values.tolist(), resamples=20_000)
    assert found.value == (rounds + 1) / 2
    assert found.low == pytest.approx(low, abs=1)
    assert found.high == pytest.approx(high, abs=1)


@pytest.mark.parametrize("rounds", [15, 51])
def test_coverage_is_that_of_theory(rounds):
    """An interval between two order statistics covers with a probability that no distribution changes."""
    ends = median_interval([float(value) for value in np.random.default_rng(0).permutation(rounds)], resamples=5000)
    theory = binom.cdf(ends.high, rounds, 0.5) - binom.cdf(ends.low, rounds, 0.5)
    repeats = 500
    noise = 3 * math.sqrt(theory * (1 - theory) / repeats)
    for name, truth in (("exponential", math.log(2)), ("standard_normal", 0.0)):
        draw = getattr(np.random.default_rng(1), name)
        share = covered(lambda _, draw=draw: draw(size=rounds), truth, repeats)
        assert share == pytest.approx(theory, abs=noise + 0.02)
        assert share > 0.91


def test_width_for_normal_noise():
    """The standard error of a normal sample's median is sqrt(pi / 2) sigma / sqrt(n)."""
    random = np.random.default_rng(4)
    intervals = [median_interval(random.normal(5, 1, 101).tolist(), resamples=500) for _ in range(100)]
    width = statistics.fmean(interval.high - interval.low for interval in intervals)
    assert width == pytest.approx(2 * 1.96 * math.sqrt(math.pi / 2 / 101), rel=0.1)


def one_after_the_other(random, rounds, correlation):
    values = np.empty(rounds)
    values[0] = random.normal()
    for number in range(1, rounds):
        values[number] = correlation * values[number - 1] + math.sqrt(1 - correlation**2) * random.normal()
    return values


def test_rounds_that_resemble_their_neighbours_are_drawn_in_blocks(monkeypatch):
    random = np.random.default_rng(5)
    series = [one_after_the_other(random, 200, 0.7) for _ in range(200)]
    assert statistics.median(block_length(values.tolist()) for values in series) >= 5
    share = covered(lambda number: series[number], 0.0, len(series))
    monkeypatch.setattr("leannet.measure.bench.bootstrap.block_length", lambda _: 1)
    naive = covered(lambda number: series[number], 0.0, len(series))
    assert naive < 0.75  # so much too often it would claim a difference
    assert share > 0.84


def test_independent_rounds_are_drawn_one_by_one():
    random = np.random.default_rng(6)
    lengths = [block_length(random.normal(size=100).tolist()) for _ in range(400)]
    assert np.mean([length == 1 for length in lengths]) > 0.95
    assert block_length([1.0] * 100) == 1
    assert block_length([float(number) for number in range(100)]) == 25  # a drift: at most a quarter


def test_same_values_and_one_value():
    same = median_interval([2.0] * 9)
    assert (same.low, same.value, same.high) == (2.0, 2.0, 2.0)
    alone = median_interval([3.0])
    assert (alone.low, alone.value, alone.high) == (3.0, 3.0, 3.0)
    assert "no interval" in alone.method
    with pytest.raises(ValueError, match="no values"):
        median_interval([])


def run(clock, calls, rounds=60, batch_size=1):
    times = time_in_rounds(calls, rounds=rounds, clock=clock)
    return {timing.network: timing for timing in summarise(times, batch_size, REFERENCE)}


def test_figures_of_known_times():
    milliseconds = [5.0, 1.0, 9.0, 3.0, 2.0, 8.0, 7.0, 4.0, 6.0, 10.0, 100.0]
    times = RoundTimes({"net": tuple(value / 1000 for value in milliseconds)}, 3, {"net": False})
    [timing] = summarise(times, 8, None)
    assert timing.median_ms.value == pytest.approx(6.0)
    assert timing.p90_ms == pytest.approx(10.0)  # nine tenths of the way from the first to the last of eleven
    assert timing.p99_ms == pytest.approx(10.0 + 0.9 * 90.0)
    assert timing.images_per_second == pytest.approx(8 / 0.006)
    assert (timing.calls, timing.stable, timing.ratio) == (11, False, None)


def share_with_one(copies, runs=400, rounds=60):
    """Enter a network twice whose copies take 4 % more or less, by where they lie; each call 1 %."""
    random, held = np.random.default_rng(3), 0
    for _ in range(runs):
        seconds = {}
        for name in (REFERENCE, "again"):
            places = np.exp(random.normal(0, 0.04, copies))
            seconds[name] = tuple(places[np.arange(rounds) % copies] * np.exp(random.normal(0, 0.01, rounds)))
        times = RoundTimes(seconds, 10, dict.fromkeys(seconds, True), copies)
        [_, again] = summarise(times, 1, REFERENCE)
        held += again.ratio.interval.low <= 1 <= again.ratio.interval.high
    return held / runs


def test_copies_that_are_lucky_with_their_places_show_no_difference():
    assert share_with_one(1) < 0.2  # what rounds alone promise
    assert share_with_one(COPIES) >= 0.95
    for copies in range(2, COPIES):
        assert share_with_one(copies) >= 0.92  # of 400 runs three standard deviations below 95 %


def test_the_interval_of_copies_is_no_narrower_than_that_of_their_rounds():
    seconds = {name: tuple(np.random.default_rng(place).uniform(1, 2, 60)) for place, name in enumerate("ab")}
    alone, several = (
        summarise(RoundTimes(seconds, 10, dict.fromkeys("ab", True), copies), 1, "a")[1].ratio for copies in (1, 6)
    )
    assert several.interval.value == alone.interval.value
    assert several.interval.low <= alone.interval.low < alone.interval.high <= several.interval.high
    assert "6 copies" in several.interval.method


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (0.7, 0.9, "faster"),
        (0.9, 1.0, "no difference shown"),
        (0.9, 1.1, "no difference shown"),
        (1.0, 1.1, "no difference shown"),
        (1.01, 1.1, "slower"),
    ],
)
def test_a_difference_is_an_interval_without_one(low, high, word):
    assert Ratio("net", Interval((low + high) / 2, low, high, ""), LEAST_ROUNDS).word == word
    assert Ratio("net", Interval((low + high) / 2, low, high, ""), LEAST_ROUNDS - 1).word == "too few rounds to say"


@pytest.mark.parametrize("rounds", range(1, 9))
def test_a_few_rounds_seldom_show_a_difference_that_is_none(rounds):
    """Chance alone: of the five rounds that are the least to say anything all lie on one side in 6 % of cases."""
    shown = 0
    for seed in range(300):
        clock = WindingClock()
        calls = {
            name: clock.noisy(name, 10.0, seed=2 * seed + number) for number, name in enumerate((REFERENCE, "again"))
        }
        shown += run(clock, calls, rounds=rounds)["again"].ratio.word in ("faster", "slower")
    # More than this would be chance in one of 1,000 tries.
    assert shown <= (33 if rounds >= LEAST_ROUNDS else 0)


@pytest.mark.parametrize("rounds", [2, 5, 6, 9, 12, 17, 19])
def test_the_interval_of_few_rounds_is_the_narrowest_that_holds_any_median(rounds):
    found = median_interval([float(value) for value in np.random.default_rng(0).permutation(rounds)])
    outside = int(found.low)  # the values are 0, 1, 2, ...
    assert found.high == rounds - 1 - outside
    coverage = 1 - 2 * binom.cdf(outside, rounds, 0.5)
    assert coverage >= 0.95 or (outside == 0 and rounds < 6)
    assert 1 - 2 * binom.cdf(outside + 1, rounds, 0.5) < 0.95


def test_a_slow_and_a_quick_network_are_found():
    clock = WindingClock()
    calls = {
        REFERENCE: clock.noisy(REFERENCE, 10.0, seed=1),
        "slow": clock.noisy("slow", 12.0, seed=2),
        "quick": clock.noisy("quick", 8.0, seed=3),
    }
    found = run(clock, calls, batch_size=4)
    assert found[REFERENCE].ratio is None
    assert found["slow"].ratio.interval.value == pytest.approx(1.2, rel=0.03)
    assert found["quick"].ratio.interval.value == pytest.approx(0.8, rel=0.03)
    assert (found["slow"].ratio.word, found["quick"].ratio.word) == ("slower", "faster")
    assert found["slow"].ratio.reference == REFERENCE
    assert found[REFERENCE].images_per_second == pytest.approx(400, rel=0.03)
    for name, truth in ((REFERENCE, 10.0), ("slow", 12.0), ("quick", 8.0)):
        assert found[name].median_ms.low <= truth <= found[name].median_ms.high


def test_a_machine_that_drifts_does_not_move_the_ratio():
    """Twice as slow in the end: one network after the other would have been compared on two machines."""
    clock = WindingClock(speed=lambda now: 1 + now / 5)
    calls = {
        REFERENCE: clock.noisy(REFERENCE, 10.0, seed=1, spread=0.01),
        "slow": clock.noisy("slow", 10.5, seed=2, spread=0.01),
    }
    found = run(clock, calls, rounds=100)
    assert clock.speed(clock.now) > 1.8
    assert found["slow"].ratio.interval.value == pytest.approx(1.05, abs=0.005)
    assert found["slow"].ratio.word == "slower"
    assert found["slow"].ratio.interval.high - found["slow"].ratio.interval.low < 0.02
    # The times themselves did change, and their interval says so.
    assert found["slow"].median_ms.high - found["slow"].median_ms.low > 1.5


def test_outliers_do_not_move_the_median():
    clock = WindingClock()
    calls = {
        REFERENCE: clock.noisy(REFERENCE, 10.0, seed=1, outliers=0.08),
        "slow": clock.noisy("slow", 12.0, seed=2, outliers=0.08),
    }
    found = run(clock, calls, rounds=100)
    assert found["slow"].ratio.interval.value == pytest.approx(1.2, rel=0.03)
    assert found["slow"].ratio.word == "slower"
    assert found["slow"].p99_ms > 100
    assert found["slow"].median_ms.value == pytest.approx(12.0, rel=0.03)


@pytest.mark.parametrize("drift", [0.0, 0.1])
def test_the_same_network_twice_shows_no_difference(drift):
    """Of 100 pairs of equals, about 95 intervals hold 1; fewer than 88 would be chance in one of 1,000 tries."""
    held = 0
    for seed in range(100):
        clock = WindingClock(speed=lambda now: 1 + drift * now)
        calls = {
            REFERENCE: clock.noisy(REFERENCE, 10.0, seed=2 * seed, outliers=0.03),
            "again": clock.noisy("again", 10.0, seed=2 * seed + 1, outliers=0.03),
        }
        held += run(clock, calls, rounds=40)["again"].ratio.word == "no difference shown"
    assert held >= 88
