"""How numbers are printed."""

from __future__ import annotations

import re

from leannet_runtime.errors import UserError

__all__ = ["bytes_text", "count_text", "count_value", "duration_text"]


def count_text(value: float) -> str:
    """Print a large count with three or four digits and its unit: 2.24 M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.{2 if value / size < 100 else 1}f} {unit}"
    return f"{value:.0f}"


def count_value(text: str, option: str) -> float:
    """Read a count as people write it: 40M, 1.2G, 40e6, 300k.

    Raises:
        UserError: It is none; `option` says where it was given.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)\s*([kMG]?)", text.strip())
    if match is None:
        raise UserError(f"{option} {text}", "not a count", "Pass 40M, 1.2G or 40000000, say")
    return float(match[1]) * {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}[match[2]]


def bytes_text(value: float) -> str:
    """Print bytes in binary units: 8.66 MiB."""
    for size, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if value >= size:
            return f"{value / size:.2f} {unit}"
    return f"{value:.0f} B"


def duration_text(seconds: float) -> str:
    """Print a duration: 42 s, 3 min 20 s, 1 h 5 min."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, rest = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
