"""Learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from leannet.page import Figure, Style, plain_text
from leannet.report.html.records import Curve

__all__ = ["curve_figures"]

MOST_EPOCHS = 400
"""Of longer trainings only some epochs are drawn, evenly spaced: there are not more pixels."""

FEW_EPOCHS = 12
"""Up to as many have a label each: there is no half of an epoch."""


def curve_figures(curves: Sequence[Curve], styles: Mapping[str, Style], name: str) -> list[Figure]:
    """Return the loss of each training and, where it was judged in between, its accuracy, epoch by epoch.

    Args:
        curves: Of any number of seeds; those of one network look alike.
        styles: By the name of the network.
        name: Begins the names of the figures.
    """
    curves = [_thinned(curve) for curve in curves]
    judged = [curve for curve in curves if curve.validation_top1]
    figures = []
    if curves:
        traces = _traces(curves, [curve.loss for curve in curves], styles, "loss {:.4g}")
        figures.append(_figure(f"{name}-loss", "Training loss", "training loss (nats)", len(curves), traces))
    if judged:
        title, values = "Accuracy on the validation part", [curve.validation_top1 for curve in judged]
        traces = _traces(judged, values, styles, "top-1 {:.2f} %")
        figures.append(_figure(f"{name}-validation", title, "top-1 accuracy (%)", len(judged), traces))
    return figures


def _thinned(curve: Curve) -> Curve:
    step = -(-len(curve.epochs) // MOST_EPOCHS)
    if step <= 1:
        return curve
    kept = [*range(0, len(curve.epochs) - 1, step), len(curve.epochs) - 1]
    return replace(
        curve,
        epochs=tuple(curve.epochs[index] for index in kept),
        loss=tuple(curve.loss[index] for index in kept),
        validation_top1=tuple(curve.validation_top1[index] for index in kept) if curve.validation_top1 else (),
    )


def _traces(
    curves: Sequence[Curve], series: Sequence[tuple[float | None, ...]], styles: Mapping[str, Style], text: str
) -> list[dict[str, Any]]:
    traces, seen = [], set()
    for curve, values in zip(curves, series, strict=True):
        style, shown = styles[curve.network], plain_text(curve.network)
        seed = "" if curve.seed is None else f", seed {curve.seed}"
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": shown,
                "legendgroup": shown,
                "showlegend": curve.network not in seen,
                "x": list(curve.epochs),
                "y": list(values),
                "line": {"color": style.colour, "dash": style.dash, "width": 2},
                "marker": {"color": style.colour, "symbol": style.symbol, "size": 7},
                "hovertext": [
                    "" if value is None else f"<b>{shown}</b>{seed}<br>epoch {epoch:g}: {text.format(value)}"
                    for epoch, value in zip(curve.epochs, values, strict=True)
                ],
                "hoverinfo": "text",
            }
        )
        seen.add(curve.network)
    return traces


def _figure(name: str, title: str, axis: str, count: int, traces: list[dict[str, Any]]) -> Figure:
    last = max((epoch for trace in traces for epoch in trace["x"]), default=0)
    return Figure(
        name=name,
        title=title,
        caption="A line for each training; those of one network look alike.",
        description=f"{title} by epoch, of {count} trainings.",
        traces=traces,
        layout={
            "xaxis": {"title": {"text": "epoch"}, **({"dtick": 1} if last <= FEW_EPOCHS else {})},
            "yaxis": {"title": {"text": axis}},
            "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
            "hovermode": "closest",
            "margin": {"l": 64, "r": 12, "t": 16, "b": 40},
        },
        height=400 + 14 * min(sum(trace["showlegend"] for trace in traces), 30),
    )
