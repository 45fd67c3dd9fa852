"""The command ``leannet``: its verbs, its version, and how it ends."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from leannet_cli.compare import compare
from leannet_cli.models import models
from leannet_cli.profile import profile
from leannet_runtime.errors import UserError
from leannet_runtime.version import __version__

__all__ = ["main"]

EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

# Plain help: rich's takes longer to import than everything else together.
app = typer.Typer(name="leannet", add_completion=False, no_args_is_help=True, rich_markup_mode=None)
app.command()(models)
app.command()(profile)
app.command()(compare)


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


def main() -> None:
    """Run the command; a user's mistake is one line on the error stream and exit code 2."""
    try:
        app(standalone_mode=True)
    except UserError as error:
        typer.echo(f"leannet: {error}", err=True)
        sys.exit(EXIT_USAGE)
    except KeyboardInterrupt:
        typer.echo("leannet: interrupted", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:  # the reader of our output has gone, as in `leannet models | head`
        sys.stderr.close()
        sys.exit(0)
