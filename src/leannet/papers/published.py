"""What the papers print, and what can be worked out from them, read from the YAML files beside this module.

Each file is one paper: a head, the rows of `figures` (what the paper prints, or what was read off its plots), the rows
of `computed` (what follows from its tables by arithmetic), and its claims (`leannet.papers.claims`). A row gives
its number as text, so that the places which the paper prints are kept; value and precision are worked out from that
text. Rows that share fields take them from a mapping under `common` by a YAML merge key. A new paper is a new file; no
code names any of them.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from importlib import resources
from types import NoneType
from typing import Any

import yaml

from leannet_runtime import UserError

__all__ = [
    "QUANTITIES",
    "Figure",
    "Paper",
    "agrees",
    "computed",
    "difference_percent",
    "load_paper",
    "papers",
    "parse_paper",
    "published",
]

# Each unit with its weight in the base unit, which comes first.
_COUNT = {"": 1, "M": 10**6, "G": 10**9}
_ACCURACY = {"%": 1, "fraction": 100}
_TIME = {"ms": 1}

_UNITS: Mapping[str, Mapping[str, int]] = {
    **dict.fromkeys(("params", "macs", "backbone_macs"), _COUNT),
    "top1": _ACCURACY,
    **dict.fromkeys(("cpu_ms", "gpu_ms", "gpu1_ms", "gpu2_ms"), _TIME),
}

QUANTITIES: tuple[str, ...] = tuple(_UNITS)
"""The quantities that a row may give."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of a paper, or one worked out from it, in base units: parameters, MACs, percent, milliseconds."""

    paper: str
    """Identifier of the paper."""
    network: str
    """Name of the network in timm's registry, or "torchvision/NAME"."""
    quantity: str
    """What the figure counts or measures, one of `QUANTITIES`."""
    value: float
    """The figure in the base unit of its quantity."""
    precision: float
    """Weight of the last place given, in the base unit; of a value read off a plot, how far the reading may be off."""
    status: str
    """One of: printed, read off; of computed figures: checked (equal to the print), differs, decided (not printed)."""
    printed: str = ""
    """The text as printed; of a computed figure, the text that it is compared with."""
    unit: str = ""
    """The unit of `printed` ("M", "G", "%", "fraction", "ms"), empty for single parameters."""
    table: str = ""
    """The table or plot of the paper that holds the figure; empty for computed figures."""
    num_classes: int | None = None
    """Number of classes of the network's classifier, where known."""
    img_size: int | None = None
    """Height and width of the input in pixels, where known."""
    dataset: str | None = None
    """The data set, where it matters."""
    exit: int | str | None = None
    """Exit of a multi-exit network, counted from 1, or "ensemble" for the joint prediction of all exits."""
    note: str = ""
    """What a reader must know to use the figure rightly."""


@dataclass(frozen=True, kw_only=True)
class Paper:
    """One paper with its figures."""

    identifier: str
    """Short key of the paper."""
    title: str
    """English title as printed."""
    authors: tuple[str, ...]
    """Names of the authors as printed in English."""
    affiliation: str
    """Where the authors work."""
    year: int | None
    """Year of publication, where printed."""
    figures: tuple[Figure, ...]
    """What the paper prints, in the order of its tables."""
    computed: tuple[Figure, ...]
    """What was worked out from the paper."""


@functools.cache
def papers() -> tuple[Paper, ...]:
    """Reads all papers, ordered by the names of their files.

    Raises:
        ValueError: If a file is not as this module describes it; the message names the file and the row.
    """
    folder = resources.files("leannet.papers")
    files = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".yaml")), key=lambda entry: entry.name)
    return tuple(parse_paper(entry.read_text(encoding="utf-8"), entry.name) for entry in files)


def load_paper(identifier: str) -> Paper:
    """Returns one paper.

    Raises:
        UserError: If no paper has this identifier.
    """
    for paper in papers():
        if paper.identifier == identifier:
            return paper
    known = ", ".join(paper.identifier for paper in papers())
    raise UserError(f"cannot find the paper '{identifier}'", "no file has this identifier", f"Choose one of {known}")


def published(
    network: str | None = None,
    quantity: str | None = None,
    num_classes: int | None = None,
    img_size: int | None = None,
    dataset: str | None = None,
) -> tuple[Figure, ...]:
    """Returns what the papers print, or show in a plot; an argument that is left out matches everything."""
    figures = (figure for paper in papers() for figure in paper.figures)
    return _select(
        figures, network=network, quantity=quantity, num_classes=num_classes, img_size=img_size, dataset=dataset
    )


def computed(
    network: str | None = None,
    quantity: str | None = None,
    num_classes: int | None = None,
    img_size: int | None = None,
    dataset: str | None = None,
) -> tuple[Figure, ...]:
    """Returns what was worked out from the papers; an argument that is left out matches everything."""
    figures = (figure for paper in papers() for figure in paper.computed)
    return _select(
        figures, network=network, quantity=quantity, num_classes=num_classes, img_size=img_size, dataset=dataset
    )


def difference_percent(measured: float, figure: Figure) -> float:
    """Returns how far a measured value, in the base unit, lies above the figure, in percent of the figure."""
    return 100 * (measured - figure.value) / figure.value


def agrees(measured: float, figure: Figure) -> bool:
    """Says whether a measured value, in the base unit, is the figure at the figure's own precision.

    Papers round or truncate without saying which, so both count as agreement: 2,253,738 agrees with "2.253" M.
    A value read off a plot agrees within the error of the reading. What is not finite agrees with nothing.
    """
    if not math.isfinite(measured):
        return False
    offset = _exact(measured) - _exact(figure.value)
    precision = _exact(figure.precision)
    if figure.status == "read off":
        return abs(offset) <= precision
    return -precision / 2 <= offset < precision


def parse_paper(text: str, file: str) -> Paper:
    """Reads the text of one YAML file.

    Args:
        text: The text.
        file: Name of the file, for messages.

    Raises:
        ValueError: If the text is not as this module describes it; the message names the file and the row.
    """
    try:
        head = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{file}: not valid YAML: {error}") from error
    _check_fields(head, _HEAD, required=_HEAD.keys() - {"common", "claims"}, where=file)
    for quantity, unit in head["units"].items():
        _check_unit(quantity, unit, where=f"{file}, units")
    figures, computed = (
        tuple(_figure(row, section, head, f"{file}, {section} row {n}") for n, row in enumerate(head[section], start=1))
        for section in ("figures", "computed")
    )
    described = {field: head[field] for field in ("identifier", "title", "affiliation", "year")}
    return Paper(authors=tuple(head["authors"]), figures=figures, computed=computed, **described)


_HEAD: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("identifier", "title", "affiliation"), (str,)),
    **dict.fromkeys(("authors", "figures", "computed", "claims"), (list,)),
    **dict.fromkeys(("units", "common"), (dict,)),
    "year": (int, NoneType),
}
# `printed` is text only: as a number it would lose the zeros at its end.
_ROW: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("network", "quantity", "printed", "unit", "dataset", "table", "note", "status"), (str,)),
    **dict.fromkeys(("value", "precision"), (str, int, float)),
    **dict.fromkeys(("num_classes", "img_size"), (int,)),
    "exit": (int, str),
}
# Fields that every row of a section must have, and one that only the other section may have.
_REQUIRED = {"figures": {"network", "quantity", "table"}, "computed": {"network", "quantity", "value", "status"}}
_FORBIDDEN = {"figures": "status", "computed": "table"}


def _figure(row: Any, section: str, head: Mapping[str, Any], where: str) -> Figure:
    known = {name: types for name, types in _ROW.items() if name != _FORBIDDEN[section]}
    _check_fields(row, known, _REQUIRED[section], where)
    if section == "figures" and ("printed" in row) == ("value" in row):
        raise ValueError(f"{where}: give either 'printed' or, for a value read off a plot, 'value'")
    if section == "figures" and "value" in row and "precision" not in row:
        raise ValueError(f"{where}: missing field 'precision' (how far the reading may be off)")
    if section == "computed" and row["status"] not in ("checked", "decided", "differs"):
        raise ValueError(f"{where}: unknown status '{row['status']}' (known: checked, decided, differs)")
    if isinstance(row.get("exit"), str) and row["exit"] != "ensemble":
        raise ValueError(f"{where}: unknown exit '{row['exit']}' (a number from 1, or ensemble)")

    quantity = row["quantity"]
    unit = row.get("unit", head["units"].get(quantity))
    _check_unit(quantity, unit, where)
    value, precision = _read(row["value"] if "value" in row else f"{row['printed']} {unit}", quantity, where)
    if "precision" in row:
        precision, _ = _read(row["precision"], quantity, where)
    described = ("network", "quantity", "printed", "table", "num_classes", "img_size", "dataset", "exit", "note")
    return Figure(
        paper=head["identifier"],
        value=value,
        precision=precision,
        unit=unit,
        status=row.get("status", "printed" if "printed" in row else "read off"),
        **{field: row[field] for field in described if field in row},
    )


def _read(text: str | float, quantity: str, where: str) -> tuple[float, float]:
    """Returns the value of "53.6 M" and the weight of its last place, both in the base unit of the quantity."""
    digits, _, unit = str(text).strip().partition(" ")
    # The base unit may be left out.
    unit = unit or next(iter(_UNITS[quantity]))
    _check_unit(quantity, unit, where)
    if not re.fullmatch(r"\d{1,3}(,\d{3})+|\d+(\.\d+)?", digits):
        raise ValueError(f"{where}: '{text}' is not a number")
    number = Decimal(digits.replace(",", ""))
    last_place = Decimal(1).scaleb(-len(digits.partition(".")[2]))
    weight = _UNITS[quantity][unit]
    return float(number * weight), float(last_place * weight)


def _check_unit(quantity: str, unit: str | None, where: str) -> None:
    if quantity not in _UNITS:
        raise ValueError(f"{where}: unknown quantity '{quantity}' (known: {', '.join(QUANTITIES)})")
    if unit is None:
        raise ValueError(f"{where}: '{quantity}' has no unit at the head of the file")
    if unit not in _UNITS[quantity]:
        known = ", ".join(repr(name) for name in _UNITS[quantity])
        raise ValueError(f"{where}: '{quantity}' is not given in '{unit}' (known: {known})")


def _check_fields(fields: Any, types: Mapping[str, tuple[type, ...]], required: Iterable[str], where: str) -> None:
    if not isinstance(fields, dict):
        raise ValueError(f"{where}: expected fields with values, found {type(fields).__name__}")
    for name in fields:
        if name not in types:
            raise ValueError(f"{where}: unknown key '{name}' (known: {', '.join(types)})")
        # The exact type, because a bool is an int to isinstance.
        if type(fields[name]) not in types[name]:
            wanted = " or ".join(kind.__name__ for kind in types[name])
            raise ValueError(f"{where}: '{name}' must be {wanted}, found {type(fields[name]).__name__}")
    for name in sorted(required):
        if name not in fields:
            raise ValueError(f"{where}: missing field '{name}'")


def _select(figures: Iterable[Figure], **wanted: object) -> tuple[Figure, ...]:
    given = {name: value for name, value in wanted.items() if value is not None}
    return tuple(figure for figure in figures if all(getattr(figure, name) == given[name] for name in given))


def _exact(number: float) -> Decimal:
    """Returns the number as it is written, because 91.74 + 0.01 is not 91.75 in binary."""
    return Decimal(repr(float(number)))
