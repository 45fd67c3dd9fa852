"""What a training says at its beginning and at its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from leannet_cli.console import make_console
from leannet_cli.numbers import bytes_text, count_text, duration_text

__all__ = ["print_results", "print_scan"]

MOST_CLASSES = 30
"""With more classes than these, the table of what was found has a row for each part only."""


def print_scan(console: Console, rows: Any) -> None:
    """Print how many images and how many damaged ones each part and class has.

    Args:
        console: Where to.
        rows: ``Scan.rows``.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    parts = list(dict.fromkeys(row.split for row in rows))
    classes = list(dict.fromkeys(row.class_name for row in rows))
    table.add_column("class", no_wrap=True)
    for part in parts:
        table.add_column(part, justify="right", no_wrap=True)
    table.add_column("damaged", justify="right", no_wrap=True)
    images = {(row.split, row.class_name): (row.images, row.damaged) for row in rows}

    def add(title: str, wanted: list[str], style: str = "") -> None:
        cells = {part: [images[part, name] for name in wanted if (part, name) in images] for part in parts}
        damaged = sum(bad for found in cells.values() for _, bad in found)
        counts = [f"{sum(count for count, _ in found):,}" for found in cells.values()]
        table.add_row(title, *counts, f"{damaged:,}", style="yellow" if damaged else style)

    if len(classes) <= MOST_CLASSES:
        for name in classes:
            add(name, [name])
    add("all" if len(classes) <= MOST_CLASSES else f"all {len(classes)} classes", classes, "bold")
    console.print(table)


def print_results(results: dict[str, Any], folder: Path) -> None:
    """Print what a run came to and the next command.

    Args:
        results: The content of ``results.json``.
        folder: The run folder.
    """
    console = make_console()
    console.print()
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("part", no_wrap=True)
    for heading in ("top-1 %", "95 % interval", "correct", "images", "loss"):
        table.add_column(heading, justify="right", no_wrap=True)
    for part in ("validation", "test"):
        if part in results:
            top1 = results[part]["top1"]
            table.add_row(
                part,
                f"{top1['value']:.2f}",
                f"{top1['low']:.2f} - {top1['high']:.2f}",
                f"{results[part]['correct']:,}",
                f"{results[part]['total']:,}",
                f"{results[part]['loss']:.4f}",
            )
    console.print(table)
    _print_exits(console, results)
    skipped = sum(results["skipped_images"].values())
    left_out = f", {skipped:,} damaged images left out" if skipped else ""
    peak = results["peak_memory_bytes"]
    memory = f", {bytes_text(peak)} of memory at most" if peak else ""
    console.print(
        f"\nEpoch {results['best_epoch']} of {results['epochs']}, chosen by {results['chosen_by']}; "
        f"{count_text(results['parameters'])} parameters, {count_text(results['macs'])} MACs; "
        f"trained in {duration_text(results['train_seconds'])}, {results['images_per_second']:.0f} images/s"
        f"{memory}{left_out}."
    )
    console.print(
        f"Written to {folder}: results.json, results.csv, args.yaml, environment.json, splits.json, best, last"
    )
    verb = "calibrate" if "exit_macs" in results else "evaluate"
    console.print(f"Next: leannet {verb} {folder}/best --data {results['data']}")


def _print_exits(console: Console, results: dict[str, Any]) -> None:
    """Print what each exit came to on the part that was judged last; nothing of a network without exits."""
    part = next((name for name in ("test", "validation") if "exits" in results.get(name, {})), None)
    if part is None:
        return
    macs = results["exit_macs"]
    spent = [*macs.get("measured", macs["open"])]
    spent.append(spent[-1])  # the ensemble runs everything
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(f"exit ({part})", no_wrap=True)
    for heading in ("top-1 %", "95 % interval", "MACs"):
        table.add_column(heading, justify="right", no_wrap=True)
    for (name, top1), count in zip(results[part]["exits"].items(), spent, strict=True):
        table.add_row(name, f"{top1['value']:.2f}", f"{top1['low']:.2f} - {top1['high']:.2f}", count_text(count))
    console.print()
    console.print(table)
    gates = results[part].get("gates_open")
    if gates:
        console.print(f"Gates open: {100 * sum(gates.values()) / len(gates):.1f} % in the mean of the layers.")
