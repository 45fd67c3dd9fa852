"""``leannet reproduce``: a figure of a paper drawn again, with ours beside the published points."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leannet_runtime.errors import UserError
from leannet_runtime.files import new_folder

__all__ = ["reproduce"]


def reproduce(
    paper: Annotated[str, typer.Argument(metavar="PAPER", help="Which paper, such as emgnet.")],
    figure: Annotated[int | None, typer.Option(min=1, metavar="N", help="Number of the figure.")] = None,
    records: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Our trainings lie below it; results/PAPER_DATASET by default."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder; runs/reproduce/PAPER-figure-N by default.")
    ] = None,
) -> None:
    """Draw a paper's figure again from the records of trainings, and judge the paper's claims by one rule."""
    if figure is None:
        raise UserError("nothing to reproduce", "no figure is named", "Pass --figure 3, say")

    import shlex

    from leannet.papers.reproduce import begin_folder, find_drawing, reproduce_figure, write_reproduction
    from leannet_cli.console import make_console
    from leannet_cli.reproduce.tables import print_reproduction

    drawing = find_drawing(paper, figure)
    source = records or Path("results") / f"{drawing.paper}_{drawing.dataset}"
    reproduction = reproduce_figure(drawing, source)
    folder = output or new_folder("reproduce", f"{drawing.paper}-figure-{drawing.number}")
    begin_folder(folder)
    # The records are named even where they are the default, and the output is not: it changes nothing.
    command = shlex.join(["leannet", "reproduce", paper, "--figure", str(figure), "--records", str(source)])
    names = write_reproduction(reproduction, folder, command)
    console = make_console()
    print_reproduction(console, reproduction)
    console.print(f"\nWritten to {folder}: {', '.join(names)}")
