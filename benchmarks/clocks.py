"""Clocks for benchmarks: how long the parts of a step take, and what other processes take of the cores."""

from __future__ import annotations

import gc
import os
import resource
import time
from collections import defaultdict
from pathlib import Path


class OthersTime:
    """How much of the time of the cores other processes take, from now on; Linux only."""

    def __init__(self) -> None:
        self.begin = self.now()

    @staticmethod
    def now() -> tuple[float, float]:
        """Return seconds of all cores, and those that something other than this process and its children took."""
        gc.collect()  # ends workers that nobody waits for any more: only ended ones are counted as ours
        ticks = [int(text) for text in Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:9]]
        idle = ticks[3] + ticks[4]
        ours = sum(
            usage.ru_utime + usage.ru_stime
            for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        )
        hertz = os.sysconf("SC_CLK_TCK")
        return sum(ticks) / hertz, (sum(ticks) - idle) / hertz - ours

    def share(self) -> float:
        """Return the share from 0 to 1."""
        everything, others = (now - begin for now, begin in zip(self.now(), self.begin, strict=True))
        return max(others, 0.0) / everything


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
