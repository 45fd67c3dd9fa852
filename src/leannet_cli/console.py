"""Where output goes: a terminal gets colours and bars, a file or a pipe plain lines."""

from __future__ import annotations

from rich.console import Console

__all__ = ["make_console"]

WIDTH = 1000  # columns: a table in a file must not be folded, and on a terminal no number may be cut off


def make_console(stderr: bool = False) -> Console:
    """Make the console for results (standard output) or for progress (`stderr`). Honours NO_COLOR and COLUMNS."""
    # Names and paths of the user are text, not rich's markup.
    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)
    if not (stderr and console.is_terminal):  # bars need the true width
        console.width = WIDTH
    return console
