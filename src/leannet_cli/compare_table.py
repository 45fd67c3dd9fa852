"""The table that a comparison ends with."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from leannet.report import PARETO_RULE, ComparisonRow
from leannet_cli.numbers import count_text

__all__ = ["print_comparison"]


def print_comparison(console: Console, rows: Sequence[ComparisonRow]) -> None:
    """Print the table and what its columns mean."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True)
    table.add_column("network", no_wrap=True)
    for heading in ("top-1 %", "95 % interval", "params", "MACs", "median ms", "p90 ms", "train images/s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        latency = row.latency
        table.add_row(
            "*" if row.pareto else "",
            row.network,
            f"{row.top1.value:.2f}",
            f"{row.top1.low:.2f} - {row.top1.high:.2f}",
            count_text(row.parameters),
            count_text(row.macs),
            f"{latency.median_ms:.2f}" if latency else "",
            f"{latency.p90_ms:.2f}" if latency else "",
            f"{row.images_per_second:.0f}",
            style="bold" if row.pareto else "",
        )
    console.print(table)
    threads = next((row.latency.threads for row in rows if row.latency), None)
    console.print(f"\n* {PARETO_RULE}.")
    console.print(f"Interval: {rows[0].top1.method}, {rows[0].total:,} held-out images.")
    counted = "1 thread" if threads == 1 else f"{threads} threads"
    console.print(f"Time of one image on the CPU: PyTorch eager, {counted}, networks in turns.")
