"""``leannet reproduce``: what a paper prints with ours beside it; what is missing is run first."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leannet_runtime.errors import UserError

__all__ = ["reproduce"]


def reproduce(
    paper: Annotated[str, typer.Argument(metavar="PAPER", help="Which paper: dmp, cse, emgnet or sm_v2.")],
    table: Annotated[int | None, typer.Option(min=1, metavar="N", help="One table; all by default.")] = None,
    figure: Annotated[int | None, typer.Option(min=1, metavar="N", help="Number of the figure.")] = None,
    budget: Annotated[
        str | None,
        typer.Option(help="How much is trained: smoke (minutes), small (hours) or full (weeks); smoke for tables."),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="What is trained on, as for train; CIFAR-10 on the Hub by default.")
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what would be run, and for how long.")] = False,
    device: Annotated[
        str, typer.Option(help="auto, cpu or cuda, for training; with cuda times are taken there too.")
    ] = "auto",
    workers: Annotated[
        int | None, typer.Option("--workers", "-j", min=1, help="Decoding threads; one for each core by default.")
    ] = None,
    records: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Train nothing, read what lies there; for a figure without a budget results/PAPER_DATASET by default.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder; runs/reproduce/PAPER-BUDGET or PAPER-figure-N by default."),
    ] = None,
) -> None:
    """Put ours beside what a paper prints, and judge the paper's claims by one rule.

    What is missing is trained and timed. Ctrl-C loses nothing: the same command goes on.
    """
    if table is not None and figure is not None:
        raise UserError("--table and --figure", "only one of them can be reproduced at a time", "Leave one away")

    from leannet.papers.tables import find_tables
    from leannet_cli.reproduce.running import Request, reproduce_paper_figure, reproduce_tables

    request = Request(paper, budget, data, plan, device, workers, records, output)
    tables = find_tables(paper, table)
    if figure is not None or not tables:
        reproduce_paper_figure(request, figure)
    else:
        reproduce_tables(request, tables, table)
