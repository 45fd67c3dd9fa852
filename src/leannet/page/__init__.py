"""A page of its own: figures, tables and text in one HTML file that needs no network."""

from leannet.page.figures import SERIES_STYLES, Figure, Style, figure_html, plain_text, style_of
from leannet.page.shell import data_uri, page_html, page_templates

__all__ = [
    "SERIES_STYLES",
    "Figure",
    "Style",
    "data_uri",
    "figure_html",
    "page_html",
    "page_templates",
    "plain_text",
    "style_of",
]
