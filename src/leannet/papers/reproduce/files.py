"""The files of a reproduction."""

from __future__ import annotations

import csv
import io
from importlib import metadata
from pathlib import Path
from typing import Any

from leannet.papers.reproduce.page import write_page
from leannet.papers.reproduce.picture import draw_figure
from leannet.papers.reproduce.reproduction import Reproduction
from leannet.papers.reproduce.rule import RULE
from leannet.papers.reproduce.verdicts import Verdict
from leannet.report.html import REPORT
from leannet.training import environment
from leannet_runtime import UserError
from leannet_runtime.files import make_folder, write_json, write_text

__all__ = ["begin_folder", "claim_record", "write_reproduction"]

CLAIMS = "claims.json"

COLUMNS = (
    "network",
    "exit",
    "published_macs",
    "published_top1",
    "macs",
    "top1",
    "low",
    "high",
    "seed",
)


def begin_folder(folder: Path) -> None:
    """Make the folder; the results of an earlier reproduction in it no longer count.

    Raises:
        UserError: It cannot be written to, or holds a run of another kind.
    """
    make_folder(folder)
    if any((folder / name).exists() for name in ("args.yaml", "results.json", "config.json")):
        raise UserError(f"cannot write to {folder}", "a run of another kind lies in it", "Choose another --output")
    (folder / CLAIMS).unlink(missing_ok=True)  # written last: a folder that has it is a whole one


def write_reproduction(reproduction: Reproduction, folder: Path, command: str) -> tuple[str, ...]:
    """Write the figure, the page, the table and, last, the claims.

    Args:
        reproduction: What to write.
        folder: From `begin_folder`.
        command: With which it is made.

    Returns:
        The names of the files.

    Raises:
        UserError: A file cannot be written.
    """
    stem = f"figure_{reproduction.drawing.number}"
    picture = draw_figure(reproduction)
    write_text(folder / f"{stem}.svg", picture)
    write_text(folder / REPORT, write_page(reproduction, picture, command))
    write_text(folder / f"{stem}.csv", _table(reproduction))
    write_json(folder / CLAIMS, _claims(reproduction, command))
    return (f"{stem}.svg", REPORT, f"{stem}.csv", CLAIMS)


def _table(reproduction: Reproduction) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in reproduction.rows:
        ours: list[Any] = [""] * 5
        if row.ours is not None:
            top1 = row.ours.top1
            ours = [f"{row.ours.macs:.0f}", *(f"{value:.4f}" for value in (top1.value, top1.low, top1.high)), row.seed]
        exit = "" if row.exit is None else row.exit
        writer.writerow([row.network, exit, f"{row.macs.value:.0f}", f"{row.top1.value:g}", *ours])
    return file.getvalue()


def _claims(reproduction: Reproduction, command: str) -> dict[str, Any]:
    drawing, described = reproduction.drawing, environment()
    described["packages"]["matplotlib"] = metadata.version("matplotlib")
    return {
        "paper": drawing.paper,
        "figure": drawing.number,
        "dataset": drawing.dataset,
        "published": reproduction.reading_error,
        "ours": reproduction.budget,
        "rule": RULE,
        "claims": [claim_record(verdict) for verdict in reproduction.verdicts],
        "records": [
            {
                "folder": str(record.folder),
                "network": record.network,
                "seed": record.seed,
                "epochs": record.epochs,
                "train_images": record.images,
                "test_images": record.test_images,
                "recipe": record.recipe.as_dict(),
                "environment": record.environment,
            }
            for record in reproduction.records
        ],
        "notes": list(reproduction.notes),
        "environment": {**described, "command": command},
    }


def claim_record(verdict: Verdict) -> dict[str, Any]:
    """Return a claim with what becomes of it, for JSON."""
    claim = verdict.claim
    return {
        "says": claim.says,
        "where": claim.where,
        "network": claim.network,
        "against": claim.against,
        "quantity": claim.quantity,
        "unit": claim.unit,
        "compared": claim.compared,
        "printed": list(claim.printed),
        "dataset": verdict.dataset,
        "published_points": verdict.plotted and list(verdict.plotted),
        "verdict": verdict.word,
        "reason": verdict.reason,
        "seeds": list(verdict.seeds),
        "without_partner": list(verdict.without_partner),
        "ours": [
            {
                "where": found.where,
                "difference": found.value,
                "low": found.low,
                "high": found.high,
                "holds": found.holds,
            }
            for found in verdict.comparisons
        ],
    }
