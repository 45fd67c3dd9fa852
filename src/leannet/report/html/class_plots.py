"""What networks answered, class by class: accuracy of each class, and what was taken for what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leannet.measure import Interval, mean_interval
from leannet.page import Figure, Style, plain_text
from leannet.report.html.records import Answers

__all__ = [
    "MOST_COLUMNS",
    "Matrices",
    "class_figure",
    "class_rows",
    "confusion_figures",
    "confusion_rows",
    "confusions",
]

Matrices = Mapping[str, NDArray[np.int64]]
"""By network, an array of shape ``(seeds, classes, classes)``: images by seed, true class and answer."""

MOST_CLASSES = 60
"""Of more classes only those are drawn on which the networks do worst."""

MOST_CONFUSION_CLASSES = 100
MOST_COLUMNS = 20
MOST_MATRICES = 8
MOST_CONFUSIONS = 5
"""Of each network, for those who do not see the matrix."""
MOST_NUMBERED = 12
"""In a matrix of more classes there is no room for numbers."""

LONGEST_NAME = 28  # characters

TICKS = (0, 1, 5, 20, 50, 100)  # percent


def confusions(answers: Sequence[Answers], classes: int) -> dict[str, NDArray[np.int64]]:
    """Return the confusion matrices of each network, one for each of its seeds (`Matrices`)."""
    found: dict[str, list[NDArray[np.int64]]] = {}
    for each in answers:
        matrix = np.zeros((classes, classes), np.int64)
        np.add.at(matrix, (each.labels, each.predicted), 1)
        found.setdefault(each.network, []).append(matrix)
    return {network: np.stack(matrices) for network, matrices in found.items()}


def class_figure(matrices: Matrices, classes: Sequence[str], styles: Mapping[str, Style], name: str) -> Figure:
    """Return the accuracy of each network on the images of each class, the hardest class on top."""
    shown = _hardest(matrices)
    order = shown[::-1]  # plotly begins below
    short = _short_names(classes)
    names = [short[index] for index in order]
    # Beside each other, so that equal ones are all seen.
    offsets = np.linspace(0.25, -0.25, len(matrices)) if len(matrices) > 1 else np.zeros(1)
    traces = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": plain_text(network),
            "x": [round(_class_interval(of_seeds, index).value, 2) for index in order],
            "y": [round(place + offset, 3) for place in range(len(order))],
            "marker": {"color": styles[network].colour, "symbol": styles[network].symbol, "size": 10, "opacity": 0.85},
            "hovertext": [_class_text(network, classes[index], of_seeds, index) for index in order],
            "hoverinfo": "text",
        }
        for offset, (network, of_seeds) in zip(offsets, matrices.items(), strict=True)
    ]
    left_out = len(classes) - len(order)
    more = f" The {len(order)} hardest of {len(classes):,} classes." if left_out else ""
    return Figure(
        name=name,
        title="Accuracy on each class",
        caption=f"Share of the images of a class that are answered rightly; the hardest class on top.{more}",
        description=f"Accuracy of {len(matrices)} networks on each of {len(order)} classes. "
        f"Hardest: {', '.join(classes[index] for index in shown[:3])}.",
        traces=traces,
        layout={
            "xaxis": {"title": {"text": "images answered rightly (%)"}},
            "yaxis": {"tickvals": list(range(len(order))), "ticktext": names, "range": [-0.6, len(order) - 0.4]},
            "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
            "hovermode": "closest",
            "margin": {"l": 12, "r": 16, "t": 16, "b": 40},
        },
        height=150 + 26 * len(order),
    )


def class_rows(matrices: Matrices, classes: Sequence[str]) -> list[tuple[str, tuple[float, ...]]]:
    """Return what `class_figure` draws: each class with the accuracy of networks in percent, the hardest first.

    Of the first `MOST_COLUMNS` networks: nobody reads a wider table.
    """
    columns = list(matrices.values())[:MOST_COLUMNS]
    return [
        (classes[index], tuple(round(_class_interval(of_seeds, index).value, 2) for of_seeds in columns))
        for index in _hardest(matrices)
    ]


def _hardest(matrices: Matrices) -> list[int]:
    """Return the classes that have images, those first on which the networks do worst; at most `MOST_CLASSES`."""
    images = next(iter(matrices.values()))[0].sum(axis=1)
    means = np.mean([_shares(of_seeds.sum(axis=0)).diagonal() for of_seeds in matrices.values()], axis=0)
    order = np.argsort(np.where(images > 0, means, np.inf), kind="stable")
    return [int(index) for index in order if images[index] > 0][:MOST_CLASSES]


def _class_interval(of_seeds: NDArray[np.int64], label: int) -> Interval:
    """Return the mean accuracy of the seeds on the images of a class; each seed answered the same images."""
    images = int(of_seeds[0, label].sum())
    return mean_interval([100 * int(matrix[label, label]) / images for matrix in of_seeds], images)


def _class_text(network: str, class_name: str, of_seeds: NDArray[np.int64], label: int) -> str:
    interval, images = _class_interval(of_seeds, label), int(of_seeds[0, label].sum())
    right = " and ".join(f"{matrix[label, label]:,}" for matrix in of_seeds)
    seeds = f", mean of {len(of_seeds)} seeds" if len(of_seeds) > 1 else ""
    return (
        f"<b>{plain_text(class_name)}</b><br>{plain_text(network)}: {right} of {images:,} right<br>"
        f"{interval.value:.1f} % ({interval.low:.1f} to {interval.high:.1f}{seeds})"
    )


def confusion_figures(matrices: Matrices, classes: Sequence[str], name: str) -> list[Figure]:
    """Return a confusion matrix for each network, for the first `MOST_MATRICES`; none if there are too many classes."""
    if len(classes) > MOST_CONFUSION_CLASSES:
        return []
    return [
        _confusion_figure(network, of_seeds, classes, f"{name}-{number}")
        for number, (network, of_seeds) in enumerate(list(matrices.items())[:MOST_MATRICES], start=1)
    ]


def confusion_rows(matrices: Matrices, classes: Sequence[str]) -> list[tuple[str, str, str, int]]:
    """Return what is most often taken for what: network, true class, answer and number of answers of all its seeds."""
    found = []
    for network, of_seeds in list(matrices.items())[:MOST_MATRICES]:
        wrong = of_seeds.sum(axis=0)
        np.fill_diagonal(wrong, 0)
        for place in np.argsort(-wrong, axis=None, kind="stable")[:MOST_CONFUSIONS]:
            row, column = map(int, np.unravel_index(place, wrong.shape))
            if wrong[row, column]:
                found.append((network, classes[row], classes[column], int(wrong[row, column])))
    return found


def _confusion_figure(network: str, of_seeds: NDArray[np.int64], classes: Sequence[str], name: str) -> Figure:
    matrix, seeds = of_seeds.sum(axis=0), len(of_seeds)
    counted = "images" if seeds == 1 else f"answers of {seeds} seeds"
    # The square root: confusions of a few percent are what one looks for.
    shares = np.sqrt(_shares(matrix) / 100)
    names = _short_names(classes)
    trace: dict[str, Any] = {
        "type": "heatmap",
        "x": names,
        "y": names,
        "z": [[round(value, 3) if value else 0 for value in row] for row in shares.tolist()],
        "customdata": matrix.tolist(),
        "zmin": 0,
        "zmax": 1,
        "xgap": 1,
        "ygap": 1,
        "colorbar": {
            "tickvals": [(tick / 100) ** 0.5 for tick in TICKS],
            "ticktext": [f"{tick} %" for tick in TICKS],
        },
        "hovertemplate": f"%{{y}} taken for %{{x}}: %{{customdata:,}} {counted}<extra></extra>",
    }
    if len(classes) <= MOST_NUMBERED:
        trace["text"] = [[f"{count:,}" if count else "" for count in row] for row in matrix.tolist()]
        trace["texttemplate"] = "%{text}"
    wrong = matrix - np.diag(matrix.diagonal())
    row, column = map(int, np.unravel_index(wrong.argmax(), wrong.shape))
    most = f"most often {classes[row]} is taken for {classes[column]}" if wrong.any() else "nothing is confused"
    return Figure(
        name=name,
        title=network,
        caption=f"{most[0].upper()}{most[1:]} ({wrong.max():,} {counted})." if wrong.any() else "Nothing is confused.",
        description=f"Confusion matrix of {network}, {len(classes)} classes: {most}.",
        traces=[trace],
        layout={
            "xaxis": {"type": "category", "title": {"text": "answer", "standoff": 8}, "showgrid": False, "ticks": ""},
            "yaxis": {
                "type": "category",
                "title": {"text": "true class", "standoff": 8},
                "autorange": "reversed",
                "ticks": "",
                "showgrid": False,
            },
            "margin": {"l": 40, "r": 0, "t": 16, "b": 40},
        },
        height=480 if len(classes) <= 30 else 760,
    )


def _shares(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    images = matrix.sum(axis=1, keepdims=True)
    return np.divide(100.0 * matrix, images, out=np.zeros(matrix.shape), where=images > 0)


def _short_names(classes: Sequence[str]) -> list[str]:
    """Return names for an axis; those that are equal once they are cut get a number, or plotly would join them."""
    cut = [name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…" for name in classes]
    counts = Counter(cut)
    return [plain_text(name if counts[name] == 1 else f"{name} {label}") for label, name in enumerate(cut)]
