"""Where output goes: a terminal gets colours and bars, a file or a pipe plain lines."""

from __future__ import annotations

from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

__all__ = ["LINE_EVERY", "ProgressOnErrorStream", "make_console"]

LINE_EVERY = 30.0  # seconds between the lines of long work, where there is no bar

WIDTH = 1000  # columns: a table in a file must not be folded, and on a terminal no number may be cut off


def make_console(stderr: bool = False) -> Console:
    """Make the console for results (standard output) or for progress (`stderr`). Honours NO_COLOR and COLUMNS."""
    # Names and paths of the user are text, not rich's markup.
    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)
    if not (stderr and console.is_terminal):  # bars need the true width
        console.width = WIDTH
    return console


Own = TypeVar("Own", bound="ProgressOnErrorStream")


class ProgressOnErrorStream:
    """What every verb's progress is: bars on a terminal while it is entered, lines elsewhere.

    Args:
        speaks: Whether this process shows bars; of several processes one does.
    """

    def __init__(self, speaks: bool = True) -> None:
        self.console = make_console(stderr=True)
        self.bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=self.console,
            transient=True,
            disable=not (self.console.is_terminal and speaks),
        )

    def __enter__(self: Own) -> Own:
        """Show the bars."""
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take the bars away."""
        self.close()

    def close(self) -> None:
        """Take the bars away; what is printed next stands below the lines so far."""
        self.bars.stop()
