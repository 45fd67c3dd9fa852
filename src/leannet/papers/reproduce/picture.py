"""The figure: accuracy over MACs, published points hollow and dashed, ours filled and solid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from leannet.measure import svg_style, svg_text
from leannet.papers.reproduce.records import ENSEMBLE
from leannet.papers.reproduce.reproduction import Reproduction, Row, curves

__all__ = ["INK", "PAPER", "draw_figure", "inline_svg"]

# Colours of Okabe and Ito, which colour-blind readers tell apart, and grey; each on white and on black. The markers
# tell the networks apart without any colour.
STYLES = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"))
SINGLE_STYLE = ("#767676", "D")

# Told apart from other blacks and whites, so that a page can put its own in their place.
INK, PAPER = "#1a1a1b", "#fefeff"

DASHES = (0, (4, 3))

MILLION = 1e6


def draw_figure(reproduction: Reproduction) -> str:
    """Draw the figure.

    Returns:
        An SVG file. It is the same for the same records.
    """
    from matplotlib.figure import Figure  # takes long to import

    colours: dict[str, Any] = {
        **dict.fromkeys(
            ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "legend.labelcolor"), INK
        ),
        **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), PAPER),
    }
    with svg_style(9, colours):
        figure = Figure(figsize=(8, 6.6), layout="constrained")
        axes = figure.add_subplot()
        drawing = reproduction.drawing
        with_exits = dict.fromkeys(row.network for row in reproduction.rows if row.exit is not None)
        styles = dict(zip(with_exits, STYLES, strict=True))
        for network, rows in curves(reproduction.rows).items():
            _draw_curve(axes, rows, *styles.get(network, SINGLE_STYLE))
        axes.set_xlabel("MACs (M)")
        axes.set_ylabel(f"top-1 on {drawing.dataset_title} (%)")
        axes.set_xlim(left=0)
        axes.grid(color="#999999", alpha=0.3, linewidth=0.5)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        title = f"{drawing.paper}, figure {drawing.number}, on {drawing.dataset_title}\nours: {reproduction.budget}"
        axes.set_title(title, fontsize=10, loc="left")
        named = {drawing.names[network]: style for network, style in styles.items()}
        _add_legend(figure, named, reproduction.reading_error)
        return svg_text(figure)


def inline_svg(svg: str, title: str) -> str:
    """Return the SVG for a page: without the head of a file, named for screen readers, in the page's own colours.

    Args:
        svg: From `draw_figure`.
        title: Plain text, already escaped.
    """
    body = svg[svg.index("<svg") :].replace(INK, "currentColor").replace(PAPER, "none")
    return body.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)


def _draw_curve(axes: Any, rows: Sequence[Row], colour: str, marker: str) -> None:
    shared = {"color": colour, "marker": marker, "markersize": 6}
    published = list({(row.network, row.exit): row for row in rows}.values())
    axes.errorbar(
        [row.macs.value / MILLION for row in published],
        [row.top1.value for row in published],
        xerr=[row.macs.precision / MILLION for row in published],
        yerr=[row.top1.precision for row in published],
        elinewidth=0.6,
        markerfacecolor="none",
        linestyle=DASHES,
        linewidth=1,
        **shared,
    )
    _mark_ensemble(axes, [(row.macs.value, row.top1.value) for row in published if row.exit == ENSEMBLE], colour)
    for seed in sorted({row.seed for row in rows if row.seed is not None}):
        ours = [(row.exit, row.ours) for row in rows if row.seed == seed and row.ours is not None]
        values = [point.top1.value for _, point in ours]
        axes.errorbar(
            [point.macs / MILLION for _, point in ours],
            values,
            yerr=[
                [max(0.0, value - point.top1.low) for value, (_, point) in zip(values, ours, strict=True)],
                [max(0.0, point.top1.high - value) for value, (_, point) in zip(values, ours, strict=True)],
            ],
            elinewidth=1.2,
            markeredgecolor=PAPER,  # so that points upon each other stay apart
            markeredgewidth=0.6,
            capsize=2.5,
            linewidth=1.4,
            **shared,
        )
        _mark_ensemble(axes, [(point.macs, point.top1.value) for exit, point in ours if exit == ENSEMBLE], colour)


def _mark_ensemble(axes: Any, points: Sequence[tuple[float, float]], colour: str) -> None:
    beside: dict[str, Any] = {"xytext": (7, 0), "textcoords": "offset points", "va": "center", "fontsize": 8}
    for macs, top1 in points:
        axes.annotate("E", (macs / MILLION, top1), color=colour, **beside)


def _add_legend(figure: Any, styles: dict[str, tuple[str, str]], reading: str) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="none", label=name)
        for name, (colour, marker) in {**styles, "ResNet, each point a network": SINGLE_STYLE}.items()
    ]
    ink: dict[str, Any] = {"color": INK, "marker": "o"}
    hollow: dict[str, Any] = {"markerfacecolor": "none", "linestyle": DASHES, "linewidth": 1}
    handles += [
        Line2D([], [], label=f"published: {reading}", **ink, **hollow),
        Line2D([], [], label="ours, 95 % interval of the test images", linewidth=1.4, **ink),
        Line2D([], [], label="E: ensemble of the exits", linestyle="none"),
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=2, frameon=False)
