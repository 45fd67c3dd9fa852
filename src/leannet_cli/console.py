"""Where output goes: a terminal gets colours and bars, a file or a pipe plain lines."""

from __future__ import annotations

from rich.console import Console

__all__ = ["make_console"]

PLAIN_WIDTH = 160  # columns where there is no terminal: a table in a log file must not be folded


def make_console(stderr: bool = False) -> Console:
    """Make the console for results (standard output) or for progress (`stderr`). Honours NO_COLOR and COLUMNS."""
    console = Console(stderr=stderr, highlight=False, soft_wrap=False)
    if not console.is_terminal:
        console = Console(stderr=stderr, highlight=False, width=PLAIN_WIDTH)
    return console
