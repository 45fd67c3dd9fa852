"""How the time of one call is taken."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import torch

__all__ = ["CudaStopwatch", "HostStopwatch", "Stopwatch"]


class Stopwatch(Protocol):
    """Runs a call once and says how long that took."""

    def __call__(self, call: Callable[[], object]) -> float:
        """Return seconds."""


class HostStopwatch:
    """For calls that return when the answer lies in the memory of the host.

    Args:
        clock: Seconds; another one is for tests.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock

    def __call__(self, call: Callable[[], object]) -> float:
        """Return the seconds from before the call to after it."""
        start = self.clock()
        call()
        return self.clock() - start


class CudaStopwatch:
    """For calls that put work on the current stream of a GPU, by events on that stream.

    The time covers what the host does to start the work too, wherever the GPU has to wait for it.

    Args:
        device: Of the calls.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def __call__(self, call: Callable[[], object]) -> float:
        """Return the seconds between the event before the call and the event after its last kernel."""
        with torch.cuda.device(self.device):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda.synchronize(self.device)
            begin.record()
            call()
            end.record()
            end.synchronize()
            return begin.elapsed_time(end) / 1000
