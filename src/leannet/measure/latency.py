"""Latency of several networks, measured in turns so that a change of the machine's speed hits all alike."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

__all__ = ["Latency", "measure_latency"]


@dataclass(frozen=True)
class Latency:
    """Time of one call in milliseconds, over repeated calls."""

    median_ms: float
    p90_ms: float
    repeats: int
    threads: int


def measure_latency(
    calls: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 30,
    warm_up: int = 5,
    seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
    on_round: Callable[[int, int], None] | None = None,
) -> dict[str, Latency]:
    """Time calls in rounds: every round runs each of them once, in a new random order.

    Args:
        calls: What is timed, by name; each runs one inference on inputs that are ready.
        rounds: Number of timed rounds.
        warm_up: Rounds before them that are not counted.
        seed: Of the order.
        clock: Seconds; another one is for tests.
        on_round: Told after each round, how many are done and how many there are.

    Returns:
        The latency by name. PyTorch's number of threads stands beside it.
    """
    order = list(calls)
    shuffle = random.Random(seed).shuffle
    seconds: dict[str, list[float]] = {name: [] for name in order}
    total = warm_up + rounds
    with torch.inference_mode():
        for number in range(total):
            shuffle(order)
            for name in order:
                start = clock()
                calls[name]()
                elapsed = clock() - start
                if number >= warm_up:
                    seconds[name].append(elapsed)
            if on_round is not None:
                on_round(number + 1, total)
    return {name: _summarise(times) for name, times in seconds.items()}


def _summarise(seconds: list[float]) -> Latency:
    p90 = statistics.quantiles(seconds, n=10, method="inclusive")[-1] if len(seconds) > 1 else seconds[0]
    return Latency(
        median_ms=1000 * statistics.median(seconds),
        p90_ms=1000 * p90,
        repeats=len(seconds),
        threads=torch.get_num_threads(),
    )
