"""How far a bench is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from leannet_cli.console import LINE_EVERY, ProgressOnErrorStream
from leannet_cli.numbers import duration_text

if TYPE_CHECKING:
    from leannet.report.bench import Failure, Setting

__all__ = ["BenchProgress"]


REDRAWN = 0.2  # seconds


class BenchProgress(ProgressOnErrorStream):
    """A bar for the rounds of a table, drawn between calls only; without a terminal lines; failures are lines."""

    def __init__(self) -> None:
        super().__init__()
        self.bars.live.auto_refresh = False  # its thread would draw while a call is timed
        self.bar = self.bars.add_task("", note="", total=None)
        self.drawn = 0.0
        self.said = self.begin = time.monotonic()

    def making(self, network: str) -> None:
        """Name the network that is made ready."""
        self.bars.update(self.bar, description=f"preparing {network}", completed=0, total=None, note="", refresh=True)

    def timing(self, setting: Setting, done: int, rounds: int) -> None:
        """Move the bar."""
        now = time.monotonic()
        if not done:
            self.begin = now  # the time left is that of the rounds, which begin when all is warm
        note = f"{duration_text((now - self.begin) / done * (rounds - done))} left" if done else "warming up"
        if now - self.drawn >= REDRAWN:
            self.bars.update(
                self.bar, description=setting.title(), completed=done, total=rounds, note=note, refresh=True
            )
            self.drawn = now
        if self.bars.disable and now - self.said >= LINE_EVERY:
            self.console.print(f"  {setting.title()}, round {done} of {rounds}: {note}")
            self.said = now

    def failed(self, failure: Failure) -> None:
        """Name the network that a backend cannot run."""
        self.console.print(f"{failure.network} cannot be timed in {failure.backend}: {failure.why}", style="yellow")
