"""One page that says everything and needs nothing else: no network, no script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources
from string import Template
from typing import Any

from leannet.papers.published import load_paper
from leannet.papers.reproduce.picture import inline_svg
from leannet.papers.reproduce.records import TrainingRecord
from leannet.papers.reproduce.reproduction import Reproduction
from leannet.papers.reproduce.verdicts import RULE, Verdict
from leannet.papers.reproduce.words import HEADINGS, claim_text, comparison_text, plotted_text, row_cells

__all__ = [
    "CAPTION",
    "claim_section",
    "heads",
    "html_list",
    "html_rows",
    "record_cells",
    "record_headings",
    "write_page",
]

CAPTION = (
    "MACs of a network with gates are their mean on the test images. Those of an ensemble are those of the last exit: "
    "all heads are run."
)

_RECORD_HEADINGS = ("network", "seed", "trained", "tested on", "machine", "torch", "leannet", "commit", "folder")


def write_page(reproduction: Reproduction, picture: str, command: str) -> str:
    """Write the page.

    Args:
        reproduction: What it tells.
        picture: The SVG from `leannet.papers.reproduce.picture.draw_figure`.
        command: With which it was made.

    Returns:
        HTML, the same for the same arguments.
    """
    drawing, paper = reproduction.drawing, load_paper(reproduction.drawing.paper)
    title = escape(f"{drawing.paper}, figure {drawing.number}, reproduced on {drawing.dataset_title}")
    rows = [row_cells(row, drawing.names[row.network]) for row in reproduction.rows]
    template = Template((resources.files(__package__) / "page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=title,
        paper=escape(f"{', '.join(paper.authors)}: {paper.title}. {paper.affiliation}."),
        budget=escape(reproduction.budget),
        reading=escape(reproduction.reading_error),
        picture=inline_svg(picture, f"{title}: accuracy over MACs, also in the table below"),
        caption=escape(CAPTION),
        headings=heads(HEADINGS),
        rows=html_rows(rows),
        claims="\n".join(map(claim_section, reproduction.verdicts)),
        rule=escape(RULE),
        command=escape(command),
        record_headings=heads(_RECORD_HEADINGS),
        records=html_rows(map(record_cells, reproduction.records)),
        notes=html_list(reproduction.notes),
    )


def record_headings() -> tuple[str, ...]:
    """Return the headings under which `record_cells` stand."""
    return _RECORD_HEADINGS


def heads(names: Iterable[str]) -> str:
    """Return the cells of the head of a table."""
    return "".join(f'<th scope="col">{escape(name)}</th>' for name in names)


def html_rows(rows: Iterable[Sequence[str]]) -> str:
    """Return the rows of a table, each headed by its first cell."""
    lines = []
    for first, *rest in rows:
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in rest)
        lines.append(f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>')
    return "\n".join(lines)


def html_list(items: Sequence[str]) -> str:
    """Return a list; nothing if it is empty."""
    return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>" if items else ""


def claim_section(verdict: Verdict) -> str:
    """Return a claim with what becomes of it."""
    plotted = plotted_text(verdict)
    lines = [f"<h3>{escape(claim_text(verdict))}</h3>"]
    lines += [f"<p>The published points: {escape(plotted)}</p>"] if plotted else []
    lines.append(html_list([f"ours, {comparison_text(verdict, found)}" for found in verdict.comparisons]))
    lines.append(f"<p><strong>{escape(verdict.word)}</strong>: {escape(verdict.reason)}</p>")
    return f'<section class="claim">{"".join(lines)}</section>'


def record_cells(record: TrainingRecord) -> tuple[str, ...]:
    """Return what a reader must know of a training."""
    described: dict[str, Any] = record.environment
    return (
        record.network,
        str(record.seed),
        record.budget,
        f"{record.test_images:,} images",
        machine_text(described),
        str(described.get("packages", {}).get("torch", "-")),
        str(described.get("leannet", "-")),
        str(described.get("commit") or "-")[:12],
        str(record.folder),
    )


def machine_text(described: dict[str, Any]) -> str:
    """Return the machine of an ``environment.json`` in words."""
    machine = described.get("machine", {})
    gpus = machine.get("gpus") or []
    return ", ".join(gpus) or f"{machine.get('processor', '-')}, {machine.get('cores', '-')} cores"
