"""Latency by a clock that the test winds itself; rounds, order and warming up are those of the instrument."""

import statistics

import pytest
import torch
from winding_clock import WindingClock

from leannet.measure import measure_latency
from leannet.measure.bench import LEAST_ROUNDS


@pytest.fixture(autouse=True)
def _quick_collector(monkeypatch):
    monkeypatch.setattr("gc.collect", lambda: 0)


def test_known_times_become_latencies():
    clock = WindingClock()
    calls = {"slow": clock.taking("slow", 7.0), "quick": clock.taking("quick", 0.5)}
    found = measure_latency(calls, clock=clock, rounds=11)
    assert found["slow"].median_ms == pytest.approx(7.0)
    assert found["slow"].p90_ms == pytest.approx(7.0)
    assert found["quick"].median_ms == pytest.approx(0.5)
    assert {latency.repeats for latency in found.values()} == {11}
    assert {latency.threads for latency in found.values()} == {torch.get_num_threads()}
    assert list(found) == ["slow", "quick"]


def test_median_percentile_and_interval():
    clock, times = WindingClock(), [5.0, 1.0, 9.0, 3.0, 2.0, 8.0, 7.0, 4.0, 6.0, 10.0, 100.0]
    warm = 10  # calls of equal time: warm at once
    net = clock.taking("net", lambda count: 1.0 if count < warm else times[(count - warm) // 2])
    latency = measure_latency({"net": net}, clock=clock, rounds=11)["net"]
    assert latency.median_ms == pytest.approx(statistics.median(times))
    # Nine tenths of the way from the first to the last of eleven sorted times.
    assert latency.p90_ms == pytest.approx(sorted(times)[9])
    assert (latency.interval.low, latency.interval.high) == pytest.approx((2.0, 10.0))  # the second of each end


def test_few_rounds_have_no_interval():
    for rounds in (LEAST_ROUNDS - 1, LEAST_ROUNDS):
        clock = WindingClock()
        latency = measure_latency({"net": clock.taking("net", 3.0)}, clock=clock, rounds=rounds)["net"]
        assert (latency.median_ms, latency.repeats) == pytest.approx((3.0, rounds))
        assert (latency.interval is None) is (rounds < LEAST_ROUNDS)


def test_progress_is_told():
    clock, told = WindingClock(), []
    calls = {"net": clock.taking("net", 1.0)}
    measure_latency(calls, clock=clock, rounds=2, on_round=lambda done, total: told.append((done, total)))
    assert set(told[:-2]) == {(0, 2)}
    assert told[-2:] == [(1, 2), (2, 2)]


def test_calls_have_no_gradients():
    weight, answers = torch.ones(2, requires_grad=True), []
    measure_latency({"net": lambda: answers.append(weight * 2)}, rounds=1)
    assert not answers[-1].requires_grad
