"""What a calibration ends with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from leannet_cli.console import make_console
from leannet_cli.numbers import count_text

if TYPE_CHECKING:
    from leannet.early_exit import Calibration

__all__ = ["print_calibration"]


def print_calibration(calibration: Calibration, model: Path, folder: Path) -> None:
    """Print the exits, what the policy came to beside the full network, and the next command.

    Args:
        calibration: The result.
        model: The model folder.
        folder: Where the files are.
    """
    console = make_console()
    policy, chosen, full = calibration.policy, calibration.chosen, calibration.full
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("exit", no_wrap=True)
    for heading in ("threshold", "temperature", "leave here %", "top-1 % if all did", "MACs", "ms"):
        table.add_column(heading, justify="right", no_wrap=True)
    thresholds = [f"{threshold:.4f}" for threshold in policy.thresholds] + ["-"]
    for number, threshold in enumerate(thresholds):
        table.add_row(
            str(number + 1),
            threshold,
            f"{policy.temperatures[number]:.3f}",
            f"{100 * chosen.shares[number]:.1f}",
            f"{calibration.exits[number].value:.2f}",
            count_text(calibration.exit_macs[number]),
            f"{calibration.exit_ms[number]:.2f}",
        )
    console.print(table)
    points = calibration.difference.points
    console.print(
        f"\nOn {full.images:,} images: top-1 {chosen.top1:.2f} %, full network {full.top1:.2f} %: "
        f"{points.value:+.2f} points (95 % interval {points.low:+.2f} to {points.high:+.2f})."
    )
    ms, full_ms = calibration.milliseconds(chosen), calibration.milliseconds(full)
    console.print(
        f"An image costs {count_text(chosen.macs)} MACs in the mean, {count_text(full.macs)} to the end: "
        f"{full.macs / chosen.macs:.2f} times less; {ms:.2f} ms instead of {full_ms:.2f} one at a time: "
        f"{full_ms / ms:.2f} times faster."
    )
    fresh = calibration.fresh_difference
    said = "one image is too few" if full.images < 2 else "four fifths of the images do not reach the goal"
    if fresh is not None:
        points = fresh.points
        said = f"{points.value:+.2f} points (95 % interval {points.low:+.2f} to {points.high:+.2f})"
    console.print(f"That is on the images that chose the thresholds; on such that had no part in it (5 folds): {said}.")
    if (warning := calibration.warning()) is not None:
        console.print(f"Warning: {warning}", style="yellow")
    console.print(f"Written to {model}/config.json; {folder}: results.json, curve.csv, curve.svg, environment.json")
    console.print(f"Next: leannet evaluate {model}")
