"""The published figures of each paper, as data."""

from leannet.papers.published import (
    QUANTITIES,
    Figure,
    Paper,
    agrees,
    computed,
    difference_percent,
    load_paper,
    papers,
    published,
)

__all__ = [
    "QUANTITIES",
    "Figure",
    "Paper",
    "agrees",
    "computed",
    "difference_percent",
    "load_paper",
    "papers",
    "published",
]
