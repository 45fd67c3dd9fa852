"""Latency of several networks, by the instrument of ``leannet bench``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from leannet.measure.bench import LEAST_ROUNDS, HostStopwatch, summarise, time_in_rounds
from leannet.measure.intervals import Interval

__all__ = ["Latency", "measure_latency"]


@dataclass(frozen=True)
class Latency:
    """Time of one call in milliseconds, over repeated calls."""

    median_ms: float
    p90_ms: float
    repeats: int
    threads: int
    """Of PyTorch."""

    interval: Interval | None = None
    """Of the median; None of too few repeats for one."""


def measure_latency(
    calls: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 30,
    seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
    on_round: Callable[[int, int], None] | None = None,
) -> dict[str, Latency]:
    """Time calls in rounds, see `leannet.measure.bench.time_in_rounds`.

    Args:
        calls: What is timed, by name; each runs one inference on inputs that are ready, and reads the answer.
        rounds: Number of timed rounds.
        seed: Of the order and of the bootstrap.
        clock: Seconds; another one is for tests.
        on_round: Told after each timed round how many are done and how many there are; (0, rounds) while warming up.

    Returns:
        The latency by name.
    """
    times = time_in_rounds(
        calls, rounds=rounds, seed=seed, stopwatch=HostStopwatch(clock), clock=clock, on_round=on_round
    )
    return {
        timing.network: Latency(
            median_ms=timing.median_ms.value,
            p90_ms=timing.p90_ms,
            repeats=timing.calls,
            threads=torch.get_num_threads(),
            interval=timing.median_ms if timing.calls >= LEAST_ROUNDS else None,
        )
        for timing in summarise(times, 1, None, seed=seed)
    }
