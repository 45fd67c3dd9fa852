"""``leannet report``: one page from the records of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leannet_runtime.errors import UserError
from leannet_runtime.files import new_folder

__all__ = ["report"]


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="Run folders of compare, train, evaluate or bench, in any mixture; or of reproduce."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The page; report.html in the run folder by default, of several runs in runs/report/NAME.",
        ),
    ] = None,
) -> None:
    """Make one HTML page from the records of runs: plots, tables, mistakes, and where it all comes from."""
    from leannet.report.html import REPORT, write_report

    folders = list(dict.fromkeys(runs))
    if reproductions := [folder for folder in folders if (folder / "reproduction.yaml").is_file()]:
        from leannet_cli.reproduce.running import report_reproduction

        if len(folders) > 1:
            why = "a reproduction has a page of its own"
            raise UserError(f"cannot report {reproductions[0]} with others", why, "Name it alone")
        file = report_reproduction(folders[0], output)
    else:
        own = folders[0] if len(folders) == 1 else new_folder("report", folders[0].resolve().name)
        file = output or own / REPORT
        write_report(folders, file)
    typer.echo(f"Written to {file}: open it in a browser.")
