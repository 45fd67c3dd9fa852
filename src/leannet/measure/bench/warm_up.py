"""When a network is warm: a written rule with an end."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["WarmUp"]


@dataclass(frozen=True)
class WarmUp:
    """A network is warm when the median of its last calls is that of the calls before them, within a tolerance.

    Args:
        window: How many calls a median is taken of.
        tolerance: By which share of the smaller one the two medians may differ.
        most: Rounds after which warming up ends whatever the times are; 0 leaves it away.
    """

    window: int = 5
    tolerance: float = 0.05
    most: int = 40

    def settled(self, seconds: Sequence[float]) -> bool:
        """Say whether a network is warm, from the times of all its calls so far."""
        if len(seconds) < 2 * self.window:
            return False
        before = statistics.median(seconds[-2 * self.window : -self.window])
        last = statistics.median(seconds[-self.window :])
        return abs(last - before) <= self.tolerance * min(last, before)

    def sentence(self) -> str:
        """Say the rule in words."""
        return (
            f"Before that, rounds warm up until the median of the last {self.window} calls of each network is within "
            f"{100 * self.tolerance:g} % of the median of the {self.window} before, for at most {self.most} rounds."
        )
