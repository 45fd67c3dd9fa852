"""Signals that ask a run to stop: it writes a checkpoint first."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

__all__ = ["StopSignals", "Stopped"]


class Stopped(KeyboardInterrupt):
    """A run was asked to stop, and has written its checkpoint if there was anything to keep.

    Args:
        signal_number: SIGINT or SIGTERM; a command ends with 128 more than that.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"signal {signal_number}")
        self.signal_number = signal_number


class StopSignals:
    """While entered, SIGINT and SIGTERM raise `Stopped`, or are noted once they are `postponed`.

    A second one ends at once, or, in the middle of `writing`, right after that: the checkpoint that the first one asked
    for is not lost to somebody's impatience. An exception that a signal raises in the middle of a training may get lost
    in a callback of PyTorch, and the training would go on; what is noted is not lost. Outside the main thread, where
    Python allows no handlers, it does nothing.

    Args:
        numbers: The signals to listen to.
    """

    def __init__(self, numbers: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM)) -> None:
        self.numbers = numbers
        self.received = 0
        """The signal that was received; 0 if none."""

        self.postponed = False
        """Whether there is something to keep first, so that whoever keeps it looks at `received`."""

        self._writing = False
        self._insisted = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        """Begin to listen."""
        if threading.current_thread() is threading.main_thread():
            for number in self.numbers:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Put back what was there before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Let nothing inside be interrupted.

        Raises:
            Stopped: A signal came meanwhile that would have ended the run.
        """
        self._writing = True
        try:
            yield
        finally:
            self._writing = False
        if self._insisted:
            raise Stopped(self._insisted)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        at_once = self.received or not self.postponed
        if not at_once:
            self.received = number
        elif self._writing:
            self._insisted = number
        else:
            raise Stopped(number)
