"""The files of reproduced tables: CSV, JSON and one page."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from leannet.measure import bench
from leannet.papers.reproduce.files import claim_record
from leannet.papers.reproduce.page import OURS, html_list, html_table, reproduction_page
from leannet.papers.reproduce.rule import RULE
from leannet.papers.reproduce.verdicts import Verdict
from leannet.papers.tables.evidence import DEVICES, Evidence
from leannet.papers.tables.rows import TableRow
from leannet.papers.tables.words import cells, headings, notes, trained_text
from leannet.report.html import REPORT
from leannet.report.html.records import NetworkRecord, Timing
from leannet.report.html.runs import read_run, together
from leannet.report.html.write import sections_html
from leannet.training import environment
from leannet_runtime.files import make_folder, write_csv, write_json, write_text

__all__ = ["tables_page", "write_tables"]

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
    write_text(folder / REPORT, tables_page(evidence, tables, verdicts, command))
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
    return (REPORT, "tables.csv", "tables.json")


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


def tables_page(
    evidence: Evidence, tables: Mapping[str, Sequence[TableRow]], verdicts: Sequence[Verdict], command: str
) -> str:
    """Return the page: tables, what ours came to as plots, claims, provenance.

    Args:
        evidence: What they are made from.
        tables: Rows by table.
        verdicts: Of the claims.
        command: With which it was made.

    Returns:
        HTML that needs no other file, the same for the same arguments.
    """
    paper = evidence.experiment.paper
    parts = [_section(evidence, table, rows) for table, rows in tables.items()]
    return reproduction_page(
        f"{paper}, reproduced",
        paper,
        f"Ours: {trained_text(evidence)}.",
        "\n".join([*parts, _ours(evidence)]),
        verdicts,
        command,
        [record for found in evidence.records.values() for record in found],
    )


def _section(evidence: Evidence, table: str, rows: Sequence[TableRow]) -> str:
    body = html_table(table, headings(rows), (cells(row, rows) for row in rows))
    return f"<h2>{escape(table)}</h2>{body}{html_list(notes(evidence, rows))}"


def _ours(evidence: Evidence) -> str:
    """Return what ours came to, as a report has it: costs, curves, classes, mistakes."""
    records = [record for found in evidence.records.values() for record in found]
    timed = {
        key: {each.network: each for each in bench.summarise(group.rounds, 1, None)}
        for key, group in evidence.times.items()
    }
    runs = []
    for run in together(evidence.folder, [read_run(record.folder) for record in records]):
        assert run.judged is not None
        judged = dataclasses.replace(run.judged, data=evidence.data_title)
        networks = tuple(_timed(evidence, network, timed) for network in run.networks)
        runs.append(dataclasses.replace(run, judged=judged, networks=networks))
    return sections_html(runs, OURS)


def _timed(
    evidence: Evidence, network: NetworkRecord, timed: Mapping[tuple[str, str], Mapping[str, bench.Timing]]
) -> NetworkRecord:
    """Return a network with the times that were taken of it."""
    timings = []
    for timing in evidence.experiment.timings:
        for device in DEVICES:
            found = timed.get((timing.name, device), {}).get(network.name)
            if found is None:
                continue
            circumstances = evidence.times[timing.name, device].circumstances
            size = "each network at its own size" if timing.img_size is None else f"{timing.img_size} px"
            median = found.median_ms
            timings.append(Timing(f"{circumstances}, {size}", median, median.value, found.p90_ms))
    return dataclasses.replace(network, timings=tuple(timings))
