"""What reproduced tables say on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from leannet.papers.reproduce import Verdict
from leannet.papers.tables import Evidence, TableRow
from leannet.papers.tables.words import cells, headings, notes, trained_text
from leannet_cli.reproduce.tables import print_verdict

__all__ = ["print_tables"]


def print_tables(
    console: Console, evidence: Evidence, tables: Mapping[str, Sequence[TableRow]], verdicts: Sequence[Verdict]
) -> None:
    """Print the tables, printed and ours, then each claim with its verdict."""
    console.print(f"ours: {trained_text(evidence)}")
    for name, rows in tables.items():
        console.print(f"\n{evidence.experiment.paper}, {name}", style="bold")
        table = Table(box=None, pad_edge=False, header_style="bold")
        for number, heading in enumerate(headings(rows)):
            table.add_column(heading, justify="left" if number < 2 else "right", no_wrap=True)
        for row in rows:
            table.add_row(*cells(row, rows))
        console.print(table)
        for note in notes(evidence, rows):
            console.print(f"  {note}")
    for verdict in verdicts:
        print_verdict(console, verdict)
    console.print("\nThe page says by which rule.")
