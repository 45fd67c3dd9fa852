"""How figures are drawn: text that stays text, and the same file for the same figure."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

__all__ = ["svg_style", "svg_text"]


@contextmanager
def svg_style(font_size: float, more: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Draw in leannet's style for a while.

    Text stays text, to be searched, and in the fonts of the viewer; "$" in a name is no formula.

    Args:
        font_size: In points.
        more: Further settings of matplotlib, by its names.
    """
    import matplotlib as mpl  # takes long to import

    settings: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "leannet",
        "text.parse_math": False,
        "font.size": font_size,
        **(more or {}),
    }
    with mpl.rc_context(settings):
        yield


def svg_text(figure: Any) -> str:
    """Return a figure of matplotlib as an SVG file; inside `svg_style` it is the same for the same figure."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()
