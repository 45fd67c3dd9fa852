"""What a reproduction says on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from leannet.papers.reproduce import Reproduction, Verdict
from leannet.papers.reproduce.page import CAPTION
from leannet.papers.reproduce.words import HEADINGS, claim_text, comparison_text, plotted_text, row_cells

__all__ = ["print_reproduction", "print_verdict"]

COLOURS = {"confirmed": "green", "contradicted": "red"}


def print_reproduction(console: Console, reproduction: Reproduction) -> None:
    """Print the points, published and ours, then each claim with its verdict."""
    drawing = reproduction.drawing
    console.print(f"{drawing.paper}, figure {drawing.number}, {drawing.dataset_title}", style="bold")
    console.print(f"published: {reproduction.reading_error}")
    console.print(f"ours: {reproduction.budget}\n")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="left" if number < 2 else "right", no_wrap=True)
    for row in reproduction.rows:
        table.add_row(*row_cells(row, drawing.names[row.network]))
    console.print(table)
    console.print(f"\n{CAPTION}")
    for verdict in reproduction.verdicts:
        print_verdict(console, verdict)
    console.print("\nThe page says by which rule.")
    for note in reproduction.notes:
        console.print(note, style="yellow")


def print_verdict(console: Console, verdict: Verdict) -> None:
    """Print a claim with what ours say and what becomes of it."""
    console.print(f"\n{claim_text(verdict)}", style="bold")
    if plotted := plotted_text(verdict):
        console.print(f"  published points: {plotted}")
    for comparison in verdict.comparisons:
        console.print(f"  ours, {comparison_text(verdict, comparison)}")
    console.print(f"  {verdict.word}: {verdict.reason}", style=COLOURS.get(verdict.word, "yellow"))
