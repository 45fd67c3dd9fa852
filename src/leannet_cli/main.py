"""The command ``leannet``: its verbs, its version, and how it ends."""

from __future__ import annotations

import functools
import re
import shlex
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

EXIT_FAILURE = 1
EXIT_USAGE = 2

# Of click, or of the copy that newer releases of typer hold: typer itself names only what is derived from it.
UsageError: type[Any] = typer.BadParameter.__mro__[1]

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


def _usage_mistake(error: Any, arguments: list[str]) -> UserError:
    """Say what typer has against the arguments as every other mistake is said; its own errors take four lines."""
    if error.ctx is None:  # an option without its value, or with one too many
        verb = None if arguments[0].startswith("-") else arguments[0]
    else:
        verb = error.ctx.info_name if error.ctx.parent is not None else None
    remedy = f"`leannet {verb} --help` tells what it takes" if verb else "`leannet --help` lists the verbs"
    said = " ".join(error.message.split())
    if named := isinstance(error, typer.BadParameter) and re.search(r"'(.+?)'", error.format_message()):
        name = named[1]  # the first of '--img-size' / '--imgsz'
        if not said:
            return UserError(f"cannot run {verb}", f"{name} is missing", remedy)
        reason = re.sub(r"^Input ", "it ", said).partition(", unable to parse")[0]
        return UserError(f"{name} {_given(error)}".rstrip(), reason, remedy)
    if option := getattr(error, "option_name", None):
        option, near = " ".join(option.split()), " or ".join(sorted(getattr(error, "possibilities", None) or ()))
        reason = re.sub(r"^Option '.*?' ", "it ", said)
        if said.startswith("No such option"):
            return UserError(option, "there is no such option", f"Did you mean {near}? {remedy}" if near else remedy)
        return UserError(option, reason, remedy)
    if unknown := re.match(r"No such command '(.*?)'\.? ?", said):
        return UserError(unknown[1], "there is no such verb", f"{said[unknown.end() :]} {remedy}".strip())
    return UserError(f"cannot run {verb}", said[:1].lower() + said[1:], remedy)


def _given(error: Any) -> str:
    """Return the value that was refused, as one would type it; empty where typer's message repeats it."""
    refused: list[dict[str, Any]] = getattr(error.__cause__, "errors", list)()
    return shlex.quote(" ".join(str(refused[0]["input"]).split())) if refused else ""


def main() -> None:
    """Run the command; a user's mistake is one line on the error stream and exit code 2."""
    arguments = _with_value(sys.argv[1:])
    try:
        sys.exit(app(arguments, standalone_mode=False) or 0)  # a verb returns None
    except UserError as error:
        mistake = error
    except UsageError as error:
        if not arguments:  # then it holds the help
            error.show()
            sys.exit(EXIT_USAGE)
        mistake = _usage_mistake(error, arguments)
    except typer.Abort:
        typer.echo("Aborted!", err=True)
        sys.exit(EXIT_FAILURE)
    typer.echo(f"leannet: {mistake}", err=True)
    sys.exit(EXIT_USAGE)
