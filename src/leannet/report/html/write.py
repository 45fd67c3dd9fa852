"""The report of some runs as one HTML file."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from leannet.page import figure_html, page_html, page_templates
from leannet.report.html.cost_plots import time_figures
from leannet.report.html.records import RunRecords
from leannet.report.html.runs import read_run
from leannet.report.html.sections import Section, sections, styles_of_bench
from leannet_runtime.files import make_folder, write_text

__all__ = ["REPORT", "report_html", "sections_html", "write_report"]

REPORT = "report.html"


def write_report(folders: Sequence[Path], file: Path) -> None:
    """Write a report of run folders, from their records alone.

    Args:
        folders: Of ``leannet compare``, ``train``, ``evaluate`` or ``bench``, in any mixture. Networks that were judged
            on the same images come into one table; times of a bench are added to the networks that it timed.
        file: The page; it needs no other file and no network.

    Raises:
        UserError: One of them holds no records of a finished run, or the file cannot be written.
    """
    runs = [read_run(folder) for folder in dict.fromkeys(folders)]
    command = shlex.join(["leannet", "report", *(str(run.folder) for run in runs)])
    page = report_html(runs, command)
    make_folder(file.parent)
    write_text(file, page)


def report_html(runs: Sequence[RunRecords], command: str) -> str:
    """Return the page.

    Args:
        runs: What it tells.
        command: With which it is made.

    Returns:
        HTML, the same for the same arguments.
    """
    timed = [run for run in runs if run.timed]
    title = f"Report: {', '.join(dict.fromkeys(run.folder.resolve().name for run in runs))}"
    template = page_templates(__package__).get_template("report.html")
    body = template.render(
        title=title,
        runs=runs,
        **_told(runs),
        benches=[
            (run, time_figures(run.timed, styles_of_bench(run), f"bench{n}")) for n, run in enumerate(timed, start=1)
        ],
        command=command,
    )
    return page_html(title, Markup(body))


def sections_html(runs: Sequence[RunRecords], heading: str = "") -> str:
    """Return, in HTML, what a page says of networks: tables and plots of accuracy, costs, classes and mistakes.

    Args:
        runs: What it tells.
        heading: With which each heading begins, before it names what was judged on.
    """
    return page_templates(__package__).get_template("sections.html").render(**_told(runs, heading))


def _told(runs: Sequence[RunRecords], heading: str = "") -> dict[str, Any]:
    parts = sections(runs)
    captions = [_caption(part) for part in parts]
    return {"sections": parts, "captions": captions, "heading": heading, "figure_html": figure_html}


def _caption(section: Section) -> str:
    """Say what the columns of the table mean."""
    methods = dict.fromkeys(row.network.top1.method for row in section.rows if row.network.top1)
    settings = dict.fromkeys(row.timing.circumstances for row in section.rows if row.timing)
    sentences = [f"Interval: {'; '.join(methods)}."] if methods else []
    sentences += [f"Latency: {'; '.join(settings)}."] if settings else []
    if any(row.front for row in section.rows):
        sentences.append("★: no other network is at least as accurate with at most as many MACs.")
    return " ".join(sentences)
