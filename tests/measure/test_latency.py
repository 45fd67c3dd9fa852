"""Latency by a clock that the test winds itself."""

import statistics

import pytest
import torch

from leannet.measure import measure_latency


class FakeClock:
    """Time passes only where a call says so."""

    def __init__(self):
        self.now = 0.0
        self.called = []

    def __call__(self):
        return self.now

    def taking(self, name, milliseconds):
        """Make a call that takes so long; with several durations, each in turn."""
        durations = iter(milliseconds) if isinstance(milliseconds, list) else None

        def call():
            self.called.append(name)
            self.now += (next(durations) if durations else milliseconds) / 1000

        return call


def measured(calls, clock, **arguments):
    return measure_latency(calls, clock=clock, **arguments)


def test_known_times_are_found():
    clock = FakeClock()
    calls = {"slow": clock.taking("slow", 7.0), "quick": clock.taking("quick", 0.5)}
    found = measured(calls, clock, rounds=11, warm_up=2)
    assert found["slow"].median_ms == pytest.approx(7.0)
    assert found["slow"].p90_ms == pytest.approx(7.0)
    assert found["quick"].median_ms == pytest.approx(0.5)
    assert {latency.repeats for latency in found.values()} == {11}
    assert {latency.threads for latency in found.values()} == {torch.get_num_threads()}
    assert list(found) == ["slow", "quick"]


def test_median_and_ninetieth_percentile():
    clock, times = FakeClock(), [5.0, 1.0, 9.0, 3.0, 2.0, 8.0, 7.0, 4.0, 6.0, 10.0, 100.0]
    latency = measured({"net": clock.taking("net", times)}, clock, rounds=11, warm_up=0)["net"]
    assert latency.median_ms == pytest.approx(statistics.median(times))
    # Nine tenths of the way from the first to the last of eleven sorted times.
    assert latency.p90_ms == pytest.approx(sorted(times)[9])


def test_warm_up_does_not_count():
    clock = FakeClock()
    latency = measured({"net": clock.taking("net", [900.0, 800.0, 2.0, 2.0, 2.0])}, clock, rounds=3, warm_up=2)["net"]
    assert (latency.median_ms, latency.p90_ms) == pytest.approx((2.0, 2.0))
    assert latency.repeats == 3
    assert len(clock.called) == 5


def test_one_round_is_its_own_percentile():
    clock = FakeClock()
    latency = measured({"net": clock.taking("net", 3.0)}, clock, rounds=1, warm_up=0)["net"]
    assert (latency.median_ms, latency.p90_ms, latency.repeats) == pytest.approx((3.0, 3.0, 1))


def rounds_of(clock, size):
    return [tuple(clock.called[i : i + size]) for i in range(0, len(clock.called), size)]


def test_every_round_runs_each_once_in_a_new_order():
    clock = FakeClock()
    names = ["a", "b", "c", "d"]
    measured({name: clock.taking(name, 1.0) for name in names}, clock, rounds=30, warm_up=5)
    rounds = rounds_of(clock, 4)
    assert len(rounds) == 35
    assert all(sorted(order) == names for order in rounds)
    assert len(set(rounds)) > 10
    assert {order[0] for order in rounds} == set(names)


def test_the_order_hangs_on_the_seed():
    orders = []
    for seed in (0, 0, 1):
        clock = FakeClock()
        measured({name: clock.taking(name, 1.0) for name in "abcd"}, clock, rounds=10, warm_up=0, seed=seed)
        orders.append(clock.called)
    assert orders[0] == orders[1] != orders[2]


def test_progress_is_told_after_each_round():
    clock, told = FakeClock(), []
    measured(
        {"net": clock.taking("net", 1.0)},
        clock,
        rounds=2,
        warm_up=1,
        on_round=lambda done, total: told.append((done, total)),
    )
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_calls_run_without_gradients():
    weight, answers = torch.ones(2, requires_grad=True), []
    measure_latency({"net": lambda: answers.append(weight * 2)}, rounds=1, warm_up=0)
    assert not answers[0].requires_grad


def test_the_real_clock_is_monotonic():
    latency = measure_latency({"net": lambda: sum(range(1000))}, rounds=5, warm_up=1)["net"]
    assert 0 < latency.median_ms <= latency.p90_ms < 1000
