"""Clocks for benchmarks: how long the parts of a step take, and what other processes take of the cores."""

from __future__ import annotations

import gc
import os
import resource
import statistics
import time
from collections import defaultdict
from pathlib import Path


def processor_seconds() -> float:
    """Return the processor time of this process and its ended children so far."""
    gc.collect()  # ends workers that nobody waits for any more: only ended ones are counted
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


class OthersTime:
    """How much of the time of the cores other processes take, from now on; Linux only."""

    def __init__(self) -> None:
        self.begin = self.now()

    @staticmethod
    def now() -> tuple[float, float]:
        """Return seconds of all cores, and those that something other than this process and its children took."""
        ticks = [int(text) for text in Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:9]]
        idle = ticks[3] + ticks[4]
        hertz = os.sysconf("SC_CLK_TCK")
        return sum(ticks) / hertz, (sum(ticks) - idle) / hertz - processor_seconds()

    def share(self, ours: float = 0.0) -> float:
        """Return the share from 0 to 1.

        Args:
            ours: Seconds of processor time since the beginning that count as ours, of children that live on.
        """
        everything, others = (now - begin for now, begin in zip(self.now(), self.begin, strict=True))
        return max(others - ours, 0.0) / everything


class Stopwatch:
    """Adds up how long the parts of a step take."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, list[float]] = defaultdict(list)
        self.step: dict[str, float] = defaultdict(float)
        self.last = time.perf_counter()

    def mark(self, part: str) -> None:
        """Say that since the last mark this part of a step ran."""
        now = time.perf_counter()
        self.step[part] += 1000 * (now - self.last)
        self.last = now

    def end_step(self, counts: bool) -> None:
        """Say that a step ended, and whether it counts."""
        self.mark("other")
        if counts:
            for part, time_taken in self.step.items():
                self.milliseconds[part].append(time_taken)
        self.step.clear()

    def medians(self) -> dict[str, float]:
        """Return the median of the milliseconds that each part took, over the steps that count."""
        return {part: statistics.median(values) for part, values in self.milliseconds.items()}
