"""What is trained and timed for each paper, and which tables it has."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml

from leannet.data import Source
from leannet.papers.claims import load_claims
from leannet.papers.published import load_paper
from leannet.papers.reproduce.drawings import DRAWINGS
from leannet_runtime import UserError

__all__ = [
    "DATASETS",
    "DEFAULT_DATA",
    "Experiment",
    "Timing",
    "dataset_of",
    "find_tables",
    "load_experiment",
    "trained_for",
]

_CONTENT: dict[str, Any] = yaml.safe_load(
    (resources.files(__package__) / "experiments.yaml").read_text(encoding="utf-8")
)

DEFAULT_DATA: str = _CONTENT["data"]
"""What is trained on where nothing is named."""

DATASETS: dict[str, dict[str, int]] = _CONTENT["datasets"]
"""Classes, training and held-out images of the data sets that the papers name."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Networks that are timed beside each other."""

    name: str
    tables: tuple[str, ...]
    img_size: int | None
    """Side of the images in pixels; each network's own if None."""

    num_classes: int | None
    reference: str
    """The network by whose time the others are divided."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What is run for one paper."""

    paper: str
    recipes: dict[str, str]
    """The recipe of each network that is trained."""

    images_per_second: dict[str, float]
    """About how fast each is trained on 2 cores at 32 pixels."""

    quoted: tuple[str, ...]
    timings: tuple[Timing, ...]

    @property
    def networks(self) -> tuple[str, ...]:
        """The networks that are trained."""
        return tuple(self.recipes)

    def timing_of(self, table: str) -> Timing:
        """Return how the networks of a table are timed."""
        return next(timing for timing in self.timings if table in timing.tables)


def load_experiment(paper: str) -> Experiment:
    """Return what is run for a paper.

    Raises:
        UserError: There is no such paper.
    """
    load_paper(paper)
    if paper not in _CONTENT["papers"]:
        known = ", ".join(_CONTENT["papers"])
        raise UserError(f"cannot reproduce {paper}", "nobody has written what is run for it", f"Known: {known}")
    content = _CONTENT["papers"][paper]
    special = {
        name: recipe for drawing in DRAWINGS if drawing.paper == paper for name, recipe in drawing.recipes.items()
    }
    return Experiment(
        paper=paper,
        recipes={name: special.get(name, content["recipe"]) for name in content["networks"]},
        images_per_second=content["networks"],
        quoted=tuple(content["quoted"]),
        timings=tuple(Timing(**{**timing, "tables": tuple(timing["tables"])}) for timing in content["timings"]),
    )


def find_tables(paper: str, number: int | None = None) -> tuple[str, ...]:
    """Return the tables of a paper that hold figures, or the one with a number; nothing of a paper without tables.

    Raises:
        UserError: There is no such paper or no such table.
    """
    named = dict.fromkeys(figure.table for figure in load_paper(paper).figures if figure.status == "printed")
    tables = tuple(sorted(named, key=lambda table: int(table.removeprefix("Table "))))
    if number is None:
        return tables
    if f"Table {number}" not in tables:
        figures = [f"--figure {drawing.number}" for drawing in DRAWINGS if drawing.paper == paper]
        known = [*(f"--table {table.removeprefix('Table ')}" for table in tables), *figures]
        raise UserError(
            f"cannot reproduce table {number} of {paper}",
            "it has no such table of results",
            f"Known: {', '.join(known)}",
        )
    return (f"Table {number}",)


def trained_for(experiment: Experiment, tables: tuple[str, ...]) -> tuple[str, ...]:
    """Return the networks that must be trained for some tables: whose accuracy is printed there, or is claimed.

    Args:
        experiment: What is run for the paper.
        tables: Accuracies that one of them quotes are not run.
    """
    own = set(tables) - set(experiment.quoted)
    printed = {
        each.network for each in load_paper(experiment.paper).figures if each.quantity == "top1" and each.table in own
    }
    for claim in load_claims(experiment.paper):
        if claim.quantity == "top1" and own & set(claim.tables):
            printed |= {claim.network, claim.against}
    return tuple(name for name in experiment.networks if name in printed)


def dataset_of(source: Source) -> str | None:
    """Return which data set of the papers a source is, by its numbers of classes and images; None if it is none."""
    found = {
        "classes": len(source.class_names),
        "train": len(source.splits["train"]),
        "held_out": len(source.held_out[1]),
    }
    return next((name for name, facts in DATASETS.items() if facts == found), None)
