"""The forms of 8 bits that were tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from leannet_cli.console import make_console

if TYPE_CHECKING:
    from leannet.deploy.int8.outcome import Quantised

__all__ = ["print_tried"]


def print_tried(quantised: Quantised, *, taken: bool) -> None:
    """Print what each form brings and costs, on what that was measured, and which one is in the file.

    Args:
        quantised: What was tried.
        taken: Whether the last one was taken.
    """
    console = make_console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("8 bits", no_wrap=True)
    columns = ("top-1 %", "lost points (95 % interval)", "agreement %", "size", "time", "layers in float", "")
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_row("none (float)", f"{quantised.float_top1.value:.2f}", "", "", "1.00", "1.00", "all", "")
    for number, tried in enumerate(quantised.tried, start=1):
        points = tried.difference.points
        table.add_row(
            tried.rung.name,
            f"{tried.top1.value:.2f}",
            f"{tried.drop:+.2f} ({-points.high:+.2f} to {-points.low:+.2f})",
            f"{tried.agreement:.2f}",
            f"{tried.size:.2f}",
            f"{tried.latency.value:.2f}",
            str(len(tried.float_layers)),
            "taken" if taken and number == len(quantised.tried) else "refused",
        )
    console.print(table)
    held_out, calibration = quantised.held_out, quantised.calibration
    weights = "7 bits, as this processor lacks VNNI" if quantised.reduce_range else "8 bits"
    console.print(
        f"\nCalibrated on {len(calibration):,} images of {calibration.data} (train), judged on {len(held_out):,} "
        f"({held_out.part}); allowed loss {quantised.max_drop:g} points; weights of {weights}. Size and time are "
        "shares of the float network's, without preprocessing; time of one image on one thread, in turns."
    )
    for note in quantised.notes:
        console.print(f"Note: {note}.")
    console.print()
