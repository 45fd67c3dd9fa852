"""OpenVINO's one core."""

from __future__ import annotations

from functools import cache

import openvino

__all__ = ["openvino_core"]


@cache
def openvino_core() -> openvino.Core:
    """Return the core, which lives as long as the process.

    The first network that a core compiles for a CPU gives the thread an own stack for signals, which is taken away
    with the core. Of two cores, the one that goes first leaves the other's stack to the thread after it is freed, and
    the next signal with a handler (Ctrl-C, a child process that ends) kills the process.
    """
    return openvino.Core()
