"""Rounds by a clock that the test winds itself: order, warm-up, budget of seconds."""

import gc

import pytest
import torch
from winding_clock import WindingClock

from leannet.measure.bench import LEAST_ROUNDS, WarmUp, time_in_rounds

NO_WARM_UP = WarmUp(most=0)


@pytest.fixture(autouse=True)
def _quick_collector(monkeypatch):
    """Collecting garbage before the rounds takes longer than all that is measured here."""
    monkeypatch.setattr("gc.collect", lambda: 0)


def timed(calls, clock, **arguments):
    return time_in_rounds(calls, clock=clock, **arguments)


def test_known_times_are_found_in_every_round():
    clock = WindingClock()
    found = timed({"slow": clock.taking("slow", 7.0), "quick": clock.taking("quick", 0.5)}, clock, rounds=11)
    assert list(found.seconds) == ["slow", "quick"]
    assert found.seconds["slow"] == pytest.approx([0.007] * 11)
    assert found.seconds["quick"] == pytest.approx([0.0005] * 11)
    assert found.rounds == 11
    assert found.stable == {"slow": True, "quick": True}


def test_a_call_before_the_timed_one_is_not_counted():
    clock = WindingClock()
    # Coming from another network costs 9 ms, a second call in a row 1 ms.
    calls = {"net": clock.taking("net", lambda count: 1.0 if count % 2 else 9.0)}
    found = timed(calls, clock, rounds=6, warm_up=NO_WARM_UP)
    assert found.seconds["net"] == pytest.approx([0.001] * 6)


def test_each_round_runs_each_network_in_a_new_order():
    clock, names = WindingClock(), ["a", "b", "c", "d"]
    timed({name: clock.taking(name, 1.0) for name in names}, clock, rounds=40, warm_up=NO_WARM_UP)
    rounds = [tuple(clock.called[i : i + 8 : 2]) for i in range(0, len(clock.called), 8)]
    assert clock.called[0::2] == clock.called[1::2]
    assert len(rounds) == 40
    assert all(sorted(order) == names for order in rounds)
    assert len(set(rounds)) > 12
    assert {order[0] for order in rounds} == {order[-1] for order in rounds} == set(names)


def test_copies_take_turns_from_round_to_round():
    clock = WindingClock()
    calls = {name: [clock.taking(f"{name}{copy}", 1.0 + copy) for copy in range(3)] for name in "ab"}
    found = timed(calls, clock, rounds=7, warm_up=NO_WARM_UP)
    rounds = [set(clock.called[i : i + 4]) for i in range(0, len(clock.called), 4)]
    assert rounds == [{f"a{copy}", f"b{copy}"} for copy in (0, 1, 2, 0, 1, 2, 0)]
    assert clock.called[0::2] == clock.called[1::2]  # the copy that is timed has been run before
    assert found.seconds["a"] == pytest.approx([0.001, 0.002, 0.003, 0.001, 0.002, 0.003, 0.001])
    assert found.copies == 3


def test_warming_up_reaches_all_copies():
    clock = WindingClock()
    timed({"net": [clock.taking(f"net{copy}", 1.0) for copy in range(4)]}, clock, rounds=1)
    assert set(clock.called) == {f"net{copy}" for copy in range(4)}


def test_as_many_copies_of_each():
    clock = WindingClock()
    for calls in ({"a": [clock.taking("a", 1.0)] * 2, "b": clock.taking("b", 1.0)}, {"a": []}):
        with pytest.raises(ValueError, match="not as many copies of each"):
            timed(calls, clock, rounds=1)


def test_the_order_hangs_on_the_seed():
    orders = []
    for seed in (0, 0, 1):
        clock = WindingClock()
        timed({name: clock.taking(name, 1.0) for name in "abcd"}, clock, rounds=10, seed=seed)
        orders.append(clock.called)
    assert orders[0] == orders[1] != orders[2]


def test_warming_up_ends_when_the_last_five_are_like_the_five_before():
    clock = WindingClock()
    steady = timed({"net": clock.taking("net", 50.0)}, clock, rounds=5)
    assert steady.warm_up_rounds == 10
    falling = {"net": clock.taking("falling", lambda count: max(1.0, 100.0 * 0.8**count))}
    found = timed(falling, clock, rounds=5)
    # 100 * 0.8^n is below 1 from n = 21 on. Calls are counted from 0: after 29 of them the window before is 19 to 23,
    # whose median is call 21; after 28 it would be call 20, which takes 1.15.
    assert found.warm_up_rounds == 29
    assert found.stable == {"net": True}
    assert found.seconds["net"] == pytest.approx([0.001] * 5)


@pytest.mark.parametrize(
    ("times", "settled"),
    [
        ([1.0] * 9, False),  # not two windows yet
        ([1.0] * 10, True),
        ([1.04] * 5 + [1.0] * 5, True),
        ([1.06] * 5 + [1.0] * 5, False),
        ([1.0] * 5 + [1.06] * 5, False),
        ([1.0, 1.0, 1.0, 9.0, 9.0, 9.0, 1.0, 1.0, 1.0, 9.0], True),  # outliers move no median
        ([7.0] * 30 + [1.0] * 10, True),  # what lies further back is forgotten
    ],
)
def test_when_a_network_is_warm(times, settled):
    assert WarmUp(window=5, tolerance=0.05).settled(times) is settled


def test_warming_up_has_an_end():
    clock = WindingClock()
    calls = {"steady": clock.taking("steady", 1.0), "wild": clock.taking("wild", lambda count: 1.2**count)}
    found = timed(calls, clock, rounds=5, warm_up=WarmUp(most=17))
    assert found.warm_up_rounds == 17
    assert found.stable == {"steady": True, "wild": False}
    assert found.rounds == 5


def test_seconds_end_the_rounds():
    clock = WindingClock()
    found = timed({"net": clock.taking("net", 10.0)}, clock, rounds=1000, seconds=1.0)
    # Ten calls warm up (0.1 s); the other 0.9 s hold 45 rounds of two calls.
    assert found.warm_up_rounds == 10
    assert found.rounds == pytest.approx(45, abs=1)
    assert clock.now == pytest.approx(1.0, abs=0.021)


def test_seconds_that_are_too_few_give_the_least_rounds():
    clock = WindingClock()
    found = timed({"net": clock.taking("net", 1000.0)}, clock, rounds=100, seconds=3.0)
    assert found.warm_up_rounds == 1  # a third of the seconds
    assert (found.rounds, found.stable) == (LEAST_ROUNDS, {"net": False})
    assert timed({"net": clock.taking("net", 1000.0)}, clock, rounds=2, seconds=3.0).rounds == 2


def test_another_stopwatch_is_believed():
    clock = WindingClock()
    calls = {"net": clock.taking("net", 5.0)}

    def half(call):
        before = clock()
        call()
        return (clock() - before) / 2

    assert timed(calls, clock, rounds=5, stopwatch=half).seconds["net"] == pytest.approx([0.0025] * 5)


def test_progress_is_told():
    clock, told = WindingClock(), []
    timed({"net": clock.taking("net", 1.0)}, clock, rounds=3, on_round=lambda *numbers: told.append(numbers))
    assert told == [(0, 3)] * 10 + [(1, 3), (2, 3), (3, 3)]


def test_calls_run_without_gradients_and_without_the_collector():
    weight, seen = torch.ones(2, requires_grad=True), []
    time_in_rounds({"net": lambda: seen.append(((weight * 2).requires_grad, gc.isenabled()))}, rounds=2)
    assert set(seen) == {(False, False)}
    assert gc.isenabled()


def test_the_collector_comes_back_after_an_error():
    with pytest.raises(ZeroDivisionError):
        time_in_rounds({"net": lambda: 1 / 0}, rounds=2)
    assert gc.isenabled()


@pytest.mark.parametrize(("calls", "rounds"), [({}, 5), ({"net": int}, 0)])
def test_nothing_to_time(calls, rounds):
    with pytest.raises(ValueError, match="nothing to time"):
        time_in_rounds(calls, rounds=rounds)


def test_the_real_clock_runs_forward():
    found = time_in_rounds({"net": lambda: sum(range(1000))}, rounds=5)
    assert all(seconds > 0 for seconds in found.seconds["net"])
