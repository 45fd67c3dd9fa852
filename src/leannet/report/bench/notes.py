"""What must be said of a table of a bench: the same words in a terminal and on a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["circumstances_text", "others_text", "warnings_of"]

BUSY = 0.1
"""Others' share of the cores, from which on it is said."""


def others_text(others: float | None) -> str:
    """Return what is added to a text on times if other processes took such a share of the cores; empty if they did not.

    Args:
        others: 0 to 1; None where the system does not say.
    """
    busy = others or 0.0
    return f"; other processes took {100 * busy:.0f} % of all cores meanwhile" if busy >= BUSY else ""


def circumstances_text(table: Mapping[str, Any]) -> str:
    """Return how often was timed, and what the machine did meanwhile.

    Args:
        table: One of ``tables`` in ``results.json``.
    """
    copies, load = table.get("copies", 1), table["load"]
    turns = f", {copies} copies of each in turn" * (copies > 1)
    texts = []
    if load["before"] is not None and load["after"] is not None:
        texts.append(f"load {load['before']:.2f} before, {load['after']:.2f} after")
    if load["others"] is not None:
        texts.append(f"others took {100 * load['others']:.0f} % of the cores meanwhile")
    told = ", ".join(texts) or "this system does not tell its load"
    return f"{table['rounds']} rounds after {table['warm_up_rounds']} of warming up{turns}; {told}"


def warnings_of(table: Mapping[str, Any]) -> list[str]:
    """Return why the times of a table say less than they seem to.

    Args:
        table: One of ``tables`` in ``results.json``.
    """
    networks = table["networks"]
    texts = [f"{failure['network']} could not be timed: {failure['why']}" for failure in table["failures"]]
    if texts and table["reference"] is None and networks:
        texts.append("The reference could not be timed, so there are no ratios.")
    if unstable := [row["network"] for row in networks if not row["stable"]]:
        texts.append(f"Not stable when timing began: {', '.join(unstable)}")
    if table.get("copies", 1) == 1 and table["device"] == "cpu" and len(networks) > 1:
        texts.append("One copy of each network was timed: where it lies in memory matters, and no interval holds that.")
    if (table["load"]["others"] or 0) > BUSY:
        texts.append("Other processes were at work: times are longer and intervals wider than on a quiet machine.")
    return texts + [
        f"{row['network']}: not counted: {', '.join(row['uncounted'])}" for row in networks if row["uncounted"]
    ]
