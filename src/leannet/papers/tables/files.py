"""The files of reproduced tables: CSV, JSON and one page."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from leannet.papers.reproduce.files import claim_record
from leannet.papers.reproduce.page import html_list, html_table, reproduction_page
from leannet.papers.reproduce.rule import RULE
from leannet.papers.reproduce.verdicts import Verdict
from leannet.papers.tables.evidence import Evidence
from leannet.papers.tables.rows import TableRow
from leannet.papers.tables.words import cells, headings, notes, trained_text
from leannet.training import environment
from leannet_runtime.files import make_folder, write_csv, write_json, write_text

__all__ = ["write_tables"]

COLUMNS = (
    *("table", "network", "dataset", "img_size"),
    *("published_params", "params", "published_macs", "macs"),
    *("published_top1", "top1", "low", "high", "difference", "same_data"),
    *("published_cpu_ms", "published_cpu_ratio", "cpu_ratio", "cpu_ratio_low", "cpu_ratio_high"),
    *("published_gpu_ms", "published_gpu_ratio", "gpu_ratio", "gpu_ratio_low", "gpu_ratio_high"),
)


def write_tables(
    evidence: Evidence,
    tables: Mapping[str, Sequence[TableRow]],
    verdicts: Sequence[Verdict],
    folder: Path,
    command: str,
) -> tuple[str, ...]:
    """Write the tables and claims.

    Args:
        evidence: What they are made from.
        tables: Rows by table.
        verdicts: Of the claims.
        folder: Where.
        command: With which it was made.

    Returns:
        The names of the files.

    Raises:
        UserError: A file cannot be written.
    """
    make_folder(folder)
    rows = [row for found in tables.values() for row in found]
    write_csv(folder / "tables.csv", COLUMNS, map(_line, rows))
    write_text(folder / "tables.html", _page(evidence, tables, verdicts, command))
    content = {
        "paper": evidence.experiment.paper,
        "budget": evidence.budget.as_dict(),
        "dataset": evidence.dataset,
        "data": evidence.data,
        "ours": trained_text(evidence),
        "tables": {table: [dataclasses.asdict(row) for row in found] for table, found in tables.items()},
        "notes": {table: list(notes(evidence, found)) for table, found in tables.items()},
        "rule": RULE,
        "claims": [claim_record(verdict) for verdict in verdicts],
        "environment": {**environment(), "command": command},
    }
    write_json(folder / "tables.json", content)
    return ("tables.html", "tables.csv", "tables.json")


def _line(row: TableRow) -> list[Any]:
    def printed(*names: str) -> Any:
        return next((f"{row.published[name].value:.10g}" for name in names if name in row.published), "")

    top1 = row.top1
    ours = ["", "", ""] if top1 is None else [f"{value:.4f}" for value in (top1.value, top1.low, top1.high)]
    line = [row.table, row.network, row.dataset or "", row.img_size]
    line += [printed("params"), row.params, printed("macs"), row.macs, printed("top1"), *ours]
    line += ["" if row.difference is None else f"{row.difference:.4f}", int(row.same_data)]
    for names, device in ((("cpu_ms",), "cpu"), (("gpu_ms", "gpu1_ms"), "cuda")):
        multiple = next((row.published_ratio[name] for name in names if name in row.published_ratio), None)
        ratio = row.ratio.get(device)
        line += [printed(*names), "" if multiple is None else f"{multiple:.6g}"]
        line += ["", "", ""] if ratio is None else [f"{value:.6g}" for value in (ratio.value, ratio.low, ratio.high)]
    return line


def _page(
    evidence: Evidence, tables: Mapping[str, Sequence[TableRow]], verdicts: Sequence[Verdict], command: str
) -> str:
    paper = evidence.experiment.paper
    return reproduction_page(
        f"{paper}, reproduced",
        paper,
        f"Ours: {trained_text(evidence)}.",
        "\n".join(_section(evidence, table, rows) for table, rows in tables.items()),
        verdicts,
        command,
        [record for found in evidence.records.values() for record in found],
    )


def _section(evidence: Evidence, table: str, rows: Sequence[TableRow]) -> str:
    body = html_table(table, headings(rows), (cells(row, rows) for row in rows))
    return f"<h2>{escape(table)}</h2>{body}{html_list(notes(evidence, rows))}"
