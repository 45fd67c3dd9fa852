"""A paper of one row and one count, to be spoiled one thing at a time."""

from __future__ import annotations

HEAD = """
identifier: example
title: Example
authors: [A. Person]
affiliation: Somewhere
year: null
units: {params: M, top1: fraction}
"""
GOOD_ROW = '{network: net, quantity: params, printed: "1.50", table: Table 1}'
GOOD_COUNT = "{network: net, quantity: params, value: 1.5 M, status: decided}"


def example(row: str = GOOD_ROW, count: str = GOOD_COUNT, head: str = HEAD) -> str:
    return f"{head}figures:\n  - {row}\ncomputed:\n  - {count}\n"
