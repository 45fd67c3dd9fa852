"""What the papers claim in words, read from the rows of `claims` in the YAML files beside this module."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from importlib import resources
from typing import Any

import yaml

from leannet.papers.published import load_paper

__all__ = ["Claim", "load_claims", "parse_claims"]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim about a network, held against another one."""

    says: str
    """The claim in English, without its numbers."""
    where: str
    """Where the paper makes it."""
    quantity: str
    """What differs: "top1", "params", "macs", "cpu_ms" or "gpu_ms"."""
    unit: str
    """Of the difference: "points" of accuracy, or "%" of what the other network has or takes."""
    printed: tuple[float, ...]
    """By how much `network` lies above `against`: one number, the two ends of a range, or nothing."""
    compared: str
    """How exits are paired: "same_exits", or "nearest_macs" with a network that has no exits; "networks" if both have
    none; "scaling" if the times of all networks of a table are held against their MACs."""
    network: str
    """Name of the network that is claimed to be better; of "scaling" the table."""
    against: str
    """Name of the other one."""
    datasets: tuple[str, ...]
    """The data sets on which it is claimed; of counts and times, those whose sizes and classes the networks have."""
    side: str = "above"
    """Where `network` is claimed to lie: "above" or "below" the other, or "not_below" by more than `margin`. Of
    "scaling": "above" if time is claimed to follow MACs, though not linearly; "below" if their rank correlation is
    claimed to lie below `margin`."""
    margin: float = 0.0
    """How much less still counts as not less, in the unit of the claim; decided where the paper has words only."""

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables by which the paper makes it."""
        found = re.findall(r"Tables? (\d+)(?: and (\d+))?", self.where)
        return tuple(f"Table {number}" for pair in found for number in pair if number)


_CHOICES: Mapping[str, tuple[str, ...]] = {
    "quantity": ("top1", "params", "macs", "cpu_ms", "gpu_ms"),
    "unit": ("points", "%"),
    "compared": ("same_exits", "nearest_macs", "networks", "scaling"),
    "side": ("above", "below", "not_below"),
}
_DEFAULTS: Mapping[str, Any] = {field.name: field.default for field in fields(Claim) if field.default is not MISSING}


def load_claims(identifier: str) -> tuple[Claim, ...]:
    """Return the claims of one paper, in its order.

    Raises:
        UserError: If no paper has this identifier.
        ValueError: If the file is not as this module describes it; the message names the file and the row.
    """
    load_paper(identifier)
    for entry in resources.files("leannet.papers").iterdir():
        if entry.name.endswith(".yaml"):
            head = yaml.safe_load(entry.read_text(encoding="utf-8"))
            if head["identifier"] == identifier:
                return parse_claims(head.get("claims", []), entry.name)
    raise AssertionError("load_paper has found it")


def parse_claims(rows: list[Any], file: str) -> tuple[Claim, ...]:
    """Read the rows of `claims`.

    Args:
        rows: As they come from YAML.
        file: Name of the file, for messages.

    Raises:
        ValueError: If a row is not as this module describes it.
    """
    return tuple(_claim(row, f"{file}, claims row {number}") for number, row in enumerate(rows, start=1))


def _claim(row: Any, where: str) -> Claim:
    names = [field.name for field in fields(Claim)]
    if not isinstance(row, dict) or set({**_DEFAULTS, **row}) != set(names):
        found = ", ".join(map(str, row)) if isinstance(row, dict) else type(row).__name__
        raise ValueError(f"{where}: a claim has the fields {', '.join(names)}; found {found}")
    row = {**_DEFAULTS, **row}
    for name, known in _CHOICES.items():
        if row[name] not in known:
            raise ValueError(f"{where}: unknown {name} '{row[name]}' (known: {', '.join(known)})")
    printed = row["printed"]
    numbers = isinstance(printed, list) and all(type(number) in (int, float) for number in printed)
    if not numbers or len(printed) > 2 or sorted(printed) != printed:
        raise ValueError(f"{where}: 'printed' is a list of one number, of two in order, or empty; found {printed}")
    if not isinstance(row["datasets"], list) or not row["datasets"]:
        raise ValueError(f"{where}: 'datasets' is a list of names; found {row['datasets']}")
    if type(row["margin"]) not in (int, float) or row["margin"] < 0:
        raise ValueError(f"{where}: 'margin' is a number from 0 on; found {row['margin']}")
    lists = {"printed": tuple(map(float, printed)), "datasets": tuple(row["datasets"])}
    return Claim(**{**row, **lists})
