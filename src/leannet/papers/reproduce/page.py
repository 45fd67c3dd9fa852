"""One page that says everything and loads nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from markupsafe import Markup

from leannet.page import page_html, page_templates
from leannet.papers.published import load_paper
from leannet.papers.reproduce.picture import inline_svg
from leannet.papers.reproduce.records import TrainingRecord
from leannet.papers.reproduce.reproduction import Reproduction
from leannet.papers.reproduce.rule import RULE
from leannet.papers.reproduce.verdicts import Verdict
from leannet.papers.reproduce.words import HEADINGS, claim_text, comparison_text, plotted_text, row_cells
from leannet.report.html.runs import read_run, together
from leannet.report.html.write import sections_html

__all__ = ["CAPTION", "OURS", "html_list", "html_table", "reproduction_page", "write_page"]

CAPTION = (
    "MACs of a network with gates are their mean on the test images. Those of an ensemble are those of the last exit: "
    "all heads are run."
)

OURS = "Ours, on "
"""With which the headings of what ours came to begin."""

_RECORD_HEADINGS = ("network", "seed", "trained", "tested on", "machine", "torch", "leannet", "commit", "folder")


def write_page(reproduction: Reproduction, picture: str, command: str) -> str:
    """Write the page of a figure.

    Args:
        reproduction: What it tells.
        picture: The SVG from `leannet.papers.reproduce.picture.draw_figure`.
        command: With which it was made.

    Returns:
        HTML, the same for the same arguments.
    """
    drawing = reproduction.drawing
    title = f"{drawing.paper}, figure {drawing.number}, reproduced on {drawing.dataset_title}"
    rows = [row_cells(row, drawing.names[row.network]) for row in reproduction.rows]
    ours = together(reproduction.records_folder, [read_run(record.folder) for record in reproduction.records])
    svg = inline_svg(picture, escape(f"{title}: accuracy over MACs, also in the table below"))
    return reproduction_page(
        title,
        drawing.paper,
        f"Ours: {reproduction.budget}. Published points: {reproduction.reading_error}.",
        f"<figure>{svg}</figure><h2>Published and ours</h2>"
        + html_table("Published points and ours", HEADINGS, rows, CAPTION)
        + sections_html(ours, OURS)
        + '<p class="soft">Of networks with exits this part tells of the last one.</p>',
        reproduction.verdicts,
        command,
        reproduction.records,
        reproduction.notes,
    )


def reproduction_page(
    title: str,
    paper: str,
    ours: str,
    body: str,
    verdicts: Iterable[Verdict],
    command: str,
    records: Iterable[TrainingRecord],
    notes: Sequence[str] = (),
) -> str:
    """Return the page of a reproduction.

    Args:
        title: Plain text, as all but `body`.
        paper: Its identifier.
        ours: Where ours come from, in a sentence.
        body: HTML: what was printed, with ours beside it.
        verdicts: On the claims.
        command: With which it was made.
        records: The trainings.
        notes: At its end.
    """
    about = load_paper(paper)
    content = (
        page_templates(__package__)
        .get_template("page.html")
        .render(
            title=title,
            paper=f"{', '.join(about.authors)}: {about.title}. {about.affiliation}.",
            ours=ours,
            body=Markup(body),
            claims=Markup("\n".join(map(_claim_section, verdicts))),
            rule=RULE,
            command=command,
            records=Markup(
                html_table(
                    "Records",
                    _RECORD_HEADINGS,
                    map(_record_cells, records),
                    "The trainings that ours come from.",
                )
            ),
            notes=Markup(html_list(notes)),
        )
    )
    return page_html(title, Markup(content))


def html_table(label: str, headings: Iterable[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """Return a table that scrolls by itself, each row headed by its first cell.

    Args:
        label: What it is called where it is not seen.
        headings: Of its columns.
        rows: Of plain text.
        caption: Above it.
    """
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in headings)
    lines = []
    for first, *rest in rows:
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in rest)
        lines.append(f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>')
    above = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="table" tabindex="0" role="region" aria-label="{escape(label)}"><table>{above}'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def html_list(items: Sequence[str]) -> str:
    """Return a list; nothing if it is empty."""
    return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>" if items else ""


def _claim_section(verdict: Verdict) -> str:
    """Return a claim with what becomes of it."""
    plotted = plotted_text(verdict)
    lines = [f"<h3>{escape(claim_text(verdict))}</h3>"]
    lines += [f"<p>The published points: {escape(plotted)}</p>"] if plotted else []
    lines.append(html_list([f"ours, {comparison_text(verdict, found)}" for found in verdict.comparisons]))
    lines.append(f"<p><strong>{escape(verdict.word)}</strong>: {escape(verdict.reason)}</p>")
    return f'<section class="claim">{"".join(lines)}</section>'


def _record_cells(record: TrainingRecord) -> tuple[str, ...]:
    """Return what a reader must know of a training."""
    described: dict[str, Any] = record.environment
    return (
        record.network,
        str(record.seed),
        record.budget,
        f"{record.test_images:,} images",
        _machine_text(described),
        str(described.get("packages", {}).get("torch", "-")),
        str(described.get("leannet", "-")),
        str(described.get("commit") or "-")[:12],
        str(record.folder),
    )


def _machine_text(described: dict[str, Any]) -> str:
    """Return the machine of an ``environment.json`` in words."""
    machine = described.get("machine", {})
    gpus = machine.get("gpus") or []
    return ", ".join(gpus) or f"{machine.get('processor', '-')}, {machine.get('cores', '-')} cores"
