"""The published points of a figure with ours beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from leannet.papers.claims import load_claims
from leannet.papers.published import Figure, published
from leannet.papers.reproduce.drawings import Drawing
from leannet.papers.reproduce.records import Exit, Point, TrainingRecord, read_records, seeds_text
from leannet.papers.reproduce.terms import deviation
from leannet.papers.reproduce.verdicts import Verdict, judge_claim

__all__ = ["Reproduction", "Row", "curves", "reproduce_figure"]


@dataclass(frozen=True)
class Row:
    """A point of the figure, with one of ours beside it where there is a record."""

    network: str
    exit: Exit
    macs: Figure
    """Published."""

    top1: Figure
    """Published."""

    seed: int | None = None
    ours: Point | None = None

    @property
    def exit_name(self) -> str:
        """The exit for readers; empty for a network without exits."""
        return "" if self.exit is None else self.exit if isinstance(self.exit, str) else f"exit {self.exit}"


@dataclass(frozen=True)
class Reproduction:
    """A figure drawn again."""

    drawing: Drawing
    records_folder: Path
    records: tuple[TrainingRecord, ...]
    rows: tuple[Row, ...]
    """In the order of the paper's rows; of a network with several seeds each point once a seed."""

    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...]
    """What was left out, what was trained otherwise than by its recipe, seeds without a partner, what is missing."""

    @property
    def budget(self) -> str:
        """How long ours were trained, and with which seeds."""
        budgets = " or ".join(dict.fromkeys(record.budget for record in self.records))
        seeds = sorted({record.seed for record in self.records})
        return f"{budgets}, {seeds_text(seeds)}"

    @property
    def reading_error(self) -> str:
        """How far the published points may be off."""
        return ", ".join(dict.fromkeys(row.top1.table for row in self.rows)).replace("+-", "±")


def reproduce_figure(drawing: Drawing, folder: Path) -> Reproduction:
    """Put ours beside the published points of a figure, and judge the paper's claims.

    Args:
        drawing: One of `leannet.papers.reproduce.DRAWINGS`.
        folder: The run folders of ours lie below it.

    Raises:
        UserError: There are no records in it, or one of them is damaged.
    """
    macs, top1 = (
        {
            (figure.network, figure.exit): figure
            for figure in published(quantity=quantity, dataset=drawing.dataset)
            if figure.paper == drawing.paper
        }
        for quantity in ("macs", "top1")
    )
    exits: dict[str, list[Exit]] = {}
    for network, exit in macs:
        exits.setdefault(network, []).append(exit)
    records, notes = read_records(folder, drawing, exits)
    rows: list[Row] = []
    for key in macs:
        network, exit = key
        of_network = [record for record in records if record.network == network]
        ours = [Row(network, exit, macs[key], top1[key], each.seed, each.points[exit]) for each in of_network]
        rows += ours or [Row(network, exit, macs[key], top1[key])]
    verdicts = [
        judge_claim(claim, dataset, drawing, records)
        for claim in load_claims(drawing.paper)
        for dataset in claim.datasets
    ]
    trained = {record.network for record in records}
    missing = [
        f"no record of {drawing.names[network]}: {drawing.training_command(network, folder)}"
        for network in exits
        if network not in trained
    ]
    astray = [f"{record.folder} {found}" for record in records if (found := deviation(record, drawing))]
    alone = dict.fromkeys(text for verdict in verdicts for text in verdict.without_partner)
    return Reproduction(
        drawing, folder, tuple(records), tuple(rows), tuple(verdicts), (*notes, *astray, *alone, *missing)
    )


def curves(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return the rows that the figure joins by a line: those of each network, and under "" all single networks."""
    joined: dict[str, list[Row]] = {}
    for row in rows:
        joined.setdefault("" if row.exit is None else row.network, []).append(row)
    return joined
