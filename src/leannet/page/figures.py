"""Figures of a page: what plotly draws in the browser, described as plain values."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

__all__ = ["SERIES_STYLES", "Figure", "Style", "figure_html", "plain_text", "style_of"]

# Okabe and Ito's colours, which people with any kind of colour vision tell apart. Their yellow is left out, which is
# lost on white; so is their black, which is lost in the dark.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9")
# One symbol more than colours: together they repeat after 42 series.
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "star", "triangle-down", "cross")
_DASHES = ("solid", "dash", "dot", "dashdot")


@dataclass(frozen=True)
class Style:
    """How a series looks; colour and symbol each tell it from the next ones."""

    colour: str
    symbol: str
    dash: str


def style_of(number: int) -> Style:
    """Return the style of a series.

    Args:
        number: Counted from 0; the same number looks the same in every figure.
    """
    return Style(
        _COLOURS[number % len(_COLOURS)], _SYMBOLS[number % len(_SYMBOLS)], _DASHES[number // len(_COLOURS) % 4]
    )


SERIES_STYLES = len(_COLOURS) * len(_SYMBOLS)
"""How many series look different from each other."""


@dataclass(frozen=True)
class Figure:
    """A figure.

    Args:
        name: Fit for an ``id``, different from those of other figures of the page.
        title: Stands above it; plain text.
        caption: Stands below it; plain text.
        description: For those who do not see it; plain text.
        traces: What plotly calls ``data``, in plain values. Text of others goes through `plain_text` first.
        layout: What plotly calls ``layout``. Colours of text and lines are set by the page, which has two themes.
        height: In pixels.
    """

    name: str
    title: str
    caption: str
    description: str
    traces: list[dict[str, Any]]
    layout: dict[str, Any]
    height: int = 420


def plain_text(text: str) -> str:
    """Return a text so that plotly shows it as it is, and not ``<b>`` as bold or ``$x$`` as a formula."""
    return html.escape(text, quote=False).replace("$", "&#36;")


def figure_html(figure: Figure) -> Markup:
    """Return a figure for `leannet.page.page_html`.

    Raises:
        ValueError: A number is not finite, which JSON cannot say.
    """
    layout = {**figure.layout, "height": figure.height}
    content = htmlsafe_json_dumps({"data": figure.traces, "layout": layout}, allow_nan=False, separators=(",", ":"))
    return Markup(
        '<figure class="plot"><h4>{title}</h4>'
        '<div class="canvas" id="{name}" role="img" aria-label="{description}"></div>'
        "<figcaption>{caption}</figcaption>"
        '<script type="application/json" class="plotted" data-for="{name}">{content}</script></figure>'
    ).format(**vars(figure), content=content)
