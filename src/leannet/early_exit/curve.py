"""Accuracy against what it costs, for every choice of thresholds that no other beats: a table and a picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from leannet.early_exit.calibration import Calibration
from leannet.early_exit.trade_off import TradeOff
from leannet.measure import svg_style, svg_text, wilson_interval

__all__ = ["curve_table", "draw_curve"]

# Okabe and Ito's colours, which everybody can tell apart.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "0.45"


def curve_table(calibration: Calibration) -> tuple[list[str], list[list[str]]]:
    """Return the choices as columns and rows, the cheapest first, the full network last.

    Columns: a threshold for each exit but the last, top-1 in percent with its 95 % interval, mean MACs, mean
    milliseconds of one image at a time, and the share of images that leave at each exit.
    """
    exits = len(calibration.exits)
    header = [
        *(f"threshold_exit{number}" for number in range(1, exits)),
        "top1",
        "low",
        "high",
        "mean_macs",
        "mean_ms",
        *(f"share_exit{number}" for number in range(1, exits + 1)),
    ]
    rows = []
    for trade in (*calibration.front, calibration.full):
        top1 = wilson_interval(trade.correct, trade.images)
        numbers = [*trade.thresholds, top1.value, top1.low, top1.high, trade.macs, calibration.milliseconds(trade)]
        rows.append([f"{value:.6g}" for value in [*numbers, *trade.shares]])
    return header, rows


def draw_curve(calibration: Calibration, title: str) -> str:
    """Draw accuracy against mean MACs and against mean milliseconds.

    Args:
        calibration: What is drawn.
        title: Stands above it.

    Returns:
        An SVG file. It is the same for the same arguments.
    """
    from matplotlib.figure import Figure  # takes long to import

    with svg_style(9):
        figure = Figure(figsize=(10, 4.2), layout="constrained")
        figure.suptitle(title, fontsize=11)
        left, right = figure.subplots(1, 2, sharey=True)
        _draw(left, calibration, lambda trade: trade.macs / 1e6, [macs / 1e6 for macs in calibration.exit_macs])
        _draw(right, calibration, calibration.milliseconds, list(calibration.exit_ms))
        left.set_xlabel("mean MACs of an image (M)")
        right.set_xlabel("mean milliseconds of an image, one at a time")
        left.set_ylabel("top-1 on the validation part (%)")
        right.legend(loc="lower right", frameon=False)
        return svg_text(figure)


def _draw(axes: Any, calibration: Calibration, cost: Callable[[TradeOff], float], exits: list[float]) -> None:
    front = sorted(calibration.front, key=cost)
    costs, tops = [cost(trade) for trade in front], [trade.top1 for trade in front]
    intervals = [wilson_interval(trade.correct, trade.images) for trade in front]
    axes.fill_between(
        costs, [each.low for each in intervals], [each.high for each in intervals], color=BLUE, alpha=0.15, linewidth=0
    )
    axes.plot(costs, tops, color=BLUE, marker=".", markersize=4, linewidth=1, label="choices of thresholds")
    axes.plot(
        exits,
        [each.value for each in calibration.exits],
        color=GREY,
        linestyle="none",
        marker="x",
        label="all images leave at one exit",
    )
    for place, (where, each) in enumerate(zip(exits, calibration.exits, strict=True), start=1):
        axes.annotate(str(place), (where, each.value), textcoords="offset points", xytext=(4, -10), color=GREY)
    for trade, colour, marker, label in (
        (calibration.full, GREEN, "s", "full network"),
        (calibration.chosen, ORANGE, "D", "chosen"),
    ):
        axes.plot([cost(trade)], [trade.top1], color=colour, marker=marker, linestyle="none", label=label)
    axes.grid(color="0.9", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlim(left=0)
