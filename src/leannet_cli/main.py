"""The command ``leannet``: its verbs, its version, and how it ends."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from leannet_cli.bench import bench
from leannet_cli.calibrate import calibrate
from leannet_cli.compare import compare
from leannet_cli.evaluate import evaluate
from leannet_cli.export import export
from leannet_cli.models import models
from leannet_cli.predict import predict
from leannet_cli.profile import profile
from leannet_cli.report import report
from leannet_cli.reproduce import reproduce
from leannet_cli.serve import serve
from leannet_cli.train import NEWEST, search_alpha, train
from leannet_runtime.errors import EXIT_INTERRUPTED, UserError
from leannet_runtime.version import __version__

__all__ = ["main"]

EXIT_USAGE = 2

# Plain help: rich's takes longer to import than everything else together.
app = typer.Typer(name="leannet", add_completion=False, no_args_is_help=True, rich_markup_mode=None)


def _interruptible(verb: Callable[..., None]) -> Callable[..., None]:
    """Let a verb that is interrupted say so; typer reads its options through the wrapper."""

    @functools.wraps(verb)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            verb(*arguments, **options)
        except KeyboardInterrupt:  # typer would end with 130 too, but without a word
            typer.echo("leannet: interrupted", err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None

    return run


for verb in (
    models,
    profile,
    bench,
    compare,
    train,
    search_alpha,
    evaluate,
    calibrate,
    export,
    predict,
    serve,
    report,
    reproduce,
):
    app.command()(_interruptible(verb))
app.command("val", hidden=True)(_interruptible(evaluate))  # what others call it


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"leannet {__version__}")
        raise typer.Exit


@app.callback()
def leannet(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Light-weight image classifiers: train them alike, measure them honestly, choose the smallest that does."""


def _with_value(arguments: list[str]) -> list[str]:
    """Give ``--resume`` its value where it has none, which typer's options cannot do themselves."""
    following = [*arguments, "--"][1:]
    completed = []
    for argument, after in zip(arguments, following, strict=True):
        completed += [argument, NEWEST] if argument == "--resume" and after.startswith("-") else [argument]
    return completed


def main() -> None:
    """Run the command; a user's mistake is one line on the error stream and exit code 2."""
    try:
        app(_with_value(sys.argv[1:]), standalone_mode=True)
    except UserError as error:
        typer.echo(f"leannet: {error}", err=True)
        sys.exit(EXIT_USAGE)
