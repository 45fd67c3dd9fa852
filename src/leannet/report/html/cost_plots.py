"""Accuracy against what it costs, with the front of what nothing beats; and the time of a bench."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from leannet.measure import Interval
from leannet.page import Figure, Style, plain_text
from leannet.report.html.front import pareto_front
from leannet.report.html.records import NetworkRecord, TimedRow

__all__ = ["cost_figures", "hover_text", "time_figures"]

MOST_LABELLED = 10
"""Above this number of points their names would lie on each other: only those on the front have theirs beside them."""

LONGEST_LABEL = 28
"""Longer names, in characters, would not fit beside the points."""

WIDE = 8
"""Costs that differ by more than this factor get a logarithmic axis."""


@dataclass(frozen=True)
class _Point:
    network: NetworkRecord
    cost: float
    spread: Interval | None


def cost_figures(networks: Sequence[NetworkRecord], styles: Mapping[str, Style], name: str) -> list[Figure]:
    """Return a plot for each cost that at least one network has a record of.

    Args:
        networks: All judged on the same images.
        styles: By the name of the network.
        name: Begins the names of the figures.
    """
    judged = [network for network in networks if network.top1 is not None]
    counts: list[tuple[str, str, Callable[[NetworkRecord], int | None]]] = [
        ("parameters", "parameters (millions)", lambda network: network.parameters),
        ("MACs", "MACs for one image (millions)", lambda network: network.macs),
    ]
    figures = []
    for cost, axis, count in counts:
        points = [_Point(each, found / 1e6, None) for each in judged if (found := count(each)) is not None]
        figures.append(_cost_figure(points, styles, f"{name}-{cost.lower()}", f"Accuracy against {cost}", axis, ""))
    settings = dict.fromkeys(timing.circumstances for network in judged for timing in network.timings)
    for number, setting in enumerate(settings, start=1):
        points = [
            _Point(network, timing.median_ms, timing.median)
            for network in judged
            for timing in network.timings
            if timing.circumstances == setting
        ]
        title, axis = "Accuracy against latency", "median latency (ms)"
        figures.append(_cost_figure(points, styles, f"{name}-latency-{number}", title, axis, f"Latency: {setting}."))
    return [figure for figure in figures if figure is not None]


def _cost_figure(
    points: Sequence[_Point], styles: Mapping[str, Style], name: str, title: str, axis: str, note: str
) -> Figure | None:
    if not points:
        return None
    pairs = [(point.cost, _top1(point).value) for point in points]
    front = pareto_front(pairs)
    chosen = range(len(points)) if len(points) <= MOST_LABELLED else front
    labelled = {points[index].network.name for index in chosen}
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "front",
            "x": [pairs[index][0] for index in front],
            "y": [pairs[index][1] for index in front],
            "line": {"shape": "hv", "color": "#80858f", "width": 2, "dash": "dot"},
            "hoverinfo": "skip",
        },
        *(_point_trace(point, styles[point.network.name], point.network.name in labelled) for point in points),
    ]
    on_front = ", ".join(points[index].network.name for index in front)
    return Figure(
        name=name,
        title=title,
        caption=note,
        description=f"{title} of {len(points)} networks; on the front: {on_front}. The table has the numbers.",
        traces=traces,
        layout={
            "xaxis": {"title": {"text": axis, "standoff": 8}, **_range([point.cost for point in points], room=0.45)},
            "yaxis": {"title": {"text": "top-1 accuracy (%)"}},
            "legend": {"orientation": "h", "x": 0, "y": 0, "yref": "container", "yanchor": "bottom"},
            "hovermode": "closest",
            "margin": {"l": 64, "r": 12, "t": 16, "b": 40},
        },
        height=380 + 20 * min(len(points), 30),
    )


def _point_trace(point: _Point, style: Style, labelled: bool) -> dict[str, Any]:
    top1, shown = _top1(point), plain_text(point.network.name)
    trace = {
        "type": "scatter",
        "mode": "markers+text" if labelled and len(point.network.name) <= LONGEST_LABEL else "markers",
        "name": shown,
        "x": [point.cost],
        "y": [top1.value],
        "text": [f"  {shown}"],
        "textposition": "bottom right",
        "cliponaxis": False,
        "marker": {"color": style.colour, "symbol": style.symbol, "size": 12},
        "error_y": _bars(top1),
        "hovertext": [hover_text(point.network)],
        "hoverinfo": "text",
    }
    if point.spread is not None:
        trace["error_x"] = _bars(point.spread)
    return trace


def _top1(point: _Point) -> Interval:
    assert point.network.top1 is not None
    return point.network.top1


def _bars(interval: Interval) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [interval.high - interval.value],
        "arrayminus": [interval.value - interval.low],
        "thickness": 1.2,
        "width": 4,
    }


def _range(costs: Sequence[float], room: float) -> dict[str, Any]:
    """Return an axis with room for the names, which stand to the right of the points."""
    low, high = min(costs), max(costs)
    if low > 0 and high / low > WIDE:
        ends = math.log10(low), math.log10(high)
        span = ends[1] - ends[0]
        reach = ends[0] - 0.08 * span, ends[1] + room * span
        # Its own labels between the powers of ten are single digits, which nobody reads as 0.2.
        decades = range(math.floor(reach[0]), math.ceil(reach[1]) + 1)
        ticks = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
        return {"type": "log", "range": reach, "tickvals": ticks, "ticktext": [f"{tick:,g}" for tick in ticks]}
    span = (high - low) or high or 1.0
    return {"range": [max(0.0, low - 0.12 * span), high + room * span]}


def hover_text(network: NetworkRecord) -> str:
    """Return the record of a network in lines, as plotly takes them."""
    lines = [f"<b>{plain_text(network.name)}</b>"]
    if network.top1 is not None:
        low, high = network.top1.low, network.top1.high
        lines.append(f"top-1 {network.top1.value:.2f} % ({low:.2f} to {high:.2f}; {network.top1.method})")
    lines += [f"{network.parameters:,} parameters"] * (network.parameters is not None)
    lines += [f"{network.macs:,} MACs"] * (network.macs is not None)
    for timing in network.timings:
        spread = f" ({timing.median.low:.2f} to {timing.median.high:.2f})" if timing.median else ""
        lines.append(f"median {timing.median_ms:.2f} ms{spread}, 90 % below {timing.p90_ms:.2f} ms")
    lines += [f"seeds {', '.join(map(str, network.seeds))}"] * bool(network.seeds)
    lines.append(plain_text(str(network.run)))
    return "<br>".join(lines)


def time_figures(rows: Sequence[TimedRow], styles: Mapping[str, Style], name: str) -> list[Figure]:
    """Return a plot of the times of a bench for each of its settings, the fastest network on top."""
    figures = []
    for number, setting in enumerate(dict.fromkeys(row.timing.circumstances for row in rows), start=1):
        timed = [row for row in rows if row.timing.circumstances == setting]
        timed.sort(key=lambda row: -row.timing.median_ms)
        traces = [_time_trace(row, styles[row.network]) for row in timed]
        figures.append(
            Figure(
                name=f"{name}-{number}",
                title=setting,
                caption=f"Median time of a call; bars: 95 % intervals. {timed[0].notes}",
                description=f"Median times of {len(timed)} networks, {setting}. The table has the numbers.",
                traces=traces,
                layout={
                    "xaxis": {"title": {"text": "median time of a call (ms)"}, "rangemode": "tozero"},
                    "yaxis": {"type": "category"},
                    "showlegend": False,
                    "margin": {"l": 12, "r": 16, "t": 16, "b": 40},
                },
                height=140 + 34 * len(timed),
            )
        )
    return figures


def _time_trace(row: TimedRow, style: Style) -> dict[str, Any]:
    timing, shown = row.timing, plain_text(row.network)
    ends = f" ({timing.median.low:.2f} to {timing.median.high:.2f})" if timing.median else ""
    lines = [
        f"<b>{shown}</b>",
        f"median {timing.median_ms:.2f} ms{ends}",
        f"90 % below {timing.p90_ms:.2f} ms",
        f"{row.parameters:,} parameters, {row.macs:,} MACs",
    ]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": shown,
        "x": [timing.median_ms],
        "y": [shown],
        "marker": {"color": style.colour, "symbol": style.symbol, "size": 12},
        **({"error_x": _bars(timing.median)} if timing.median else {}),
        "hovertext": ["<br>".join(lines)],
        "hoverinfo": "text",
    }
