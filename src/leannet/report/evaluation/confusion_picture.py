"""The confusion matrix as a picture, readable with ten classes and with a hundred."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leannet.measure import svg_style, svg_text

__all__ = ["draw_confusion"]

# Numbers in more cells than these would be too small to read.
MOST_NUMBERED = 20  # classes

# A picture of more classes would be too large to open; then only some of them are named.
MOST_NAMED = 250  # classes

LONGEST_NAME = 24  # characters
LONGEST_TITLE = 80

# Inches.
SMALLEST_SIDE = 4
CHARACTER = 0.08

# One hue from white to dark, so that it does not matter which colours somebody can tell apart.
COLOURS = "Blues"


def draw_confusion(confusion: NDArray[np.int64], class_names: tuple[str, ...], title: str) -> str:
    """Draw a confusion matrix. Each row is coloured by its shares, so that rare classes show as well as frequent ones.

    Args:
        confusion: Number of images by true class (row) and predicted class (column).
        class_names: By label.
        title: Stands above it.

    Returns:
        An SVG file. It is the same for the same arguments.
    """
    from matplotlib.colors import PowerNorm  # takes long to import
    from matplotlib.figure import Figure

    classes = len(class_names)
    with svg_style(8), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # for measuring its width only
        cell = np.interp(classes, (10, 100), (0.5, 0.15))  # inches
        side = max(SMALLEST_SIDE, cell * min(classes, MOST_NAMED))
        figure = Figure(figsize=(side + 3, side + 2), layout="constrained")
        axes = figure.add_subplot()
        images = confusion.sum(axis=1, keepdims=True)
        shares = np.divide(100 * confusion, images, out=np.zeros(confusion.shape), where=images > 0)
        # The square root: confusions of a few percent are what one looks for.
        picture = axes.imshow(shares, cmap=COLOURS, norm=PowerNorm(0.5, 0, 100), interpolation="nearest")
        _name_axes(axes, class_names, images[:, 0], side / classes)
        axes.set_title(_cut(title, LONGEST_TITLE), fontsize=10, loc="left")
        if classes <= MOST_NUMBERED:
            _number_cells(axes, confusion, shares)
        bar = figure.colorbar(picture, ax=axes, shrink=min(1.0, 4 / side), ticks=[0, 1, 5, 20, 50, 100], pad=0.02)
        bar.set_label("% of the images of the true class")
        return svg_text(figure)


def _name_axes(axes: Any, class_names: tuple[str, ...], images: NDArray[np.int64], cell: float) -> None:
    step = -(-len(class_names) // MOST_NAMED)
    places = range(0, len(class_names), step)
    short = [_cut(name, LONGEST_NAME) for name in class_names]
    fits = CHARACTER * max(map(len, short)) < cell
    axes.set_xticks(places, [short[i] for i in places], rotation=0 if fits else 90)
    axes.set_yticks(places, [f"{short[i]} ({images[i]:,})" for i in places])
    axes.tick_params(length=0)
    axes.set_xlabel("predicted class", fontsize=10)
    axes.set_ylabel("true class (images)", fontsize=10)
    axes.spines[:].set_color("0.85")
    if step == 1:  # else the lines would cover the cells
        axes.set_xticks(np.arange(len(class_names) + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(len(class_names) + 1) - 0.5, minor=True)
        axes.tick_params(which="minor", length=0)
        axes.grid(which="minor", color="0.85", linewidth=0.5)


def _number_cells(axes: Any, confusion: NDArray[np.int64], shares: NDArray[np.float64]) -> None:
    for (row, column), count in np.ndenumerate(confusion):
        if count:
            colour = "white" if shares[row, column] > 35 else "black"
            axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
