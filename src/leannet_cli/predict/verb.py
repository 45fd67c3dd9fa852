"""``leannet predict``: what a network sees in images."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leannet_cli.predict.inputs import image_paths
from leannet_cli.predict.output import format_of, print_table, text_of, write_predictions
from leannet_runtime.errors import UserError
from leannet_runtime.files import check_file, make_folder, write_file

if TYPE_CHECKING:
    from leannet.deploy.explanation import Explainer
    from leannet_runtime import Prediction, Predictor

__all__ = ["predict"]

EXIT_FAILURE = 1


def predict(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A model folder, or a file that leannet export wrote (no torch).")
    ],
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGES...",
            help="Files, folders (all images below), patterns such as 'photos/*.jpg'; - reads paths from the standard "
            "input, one a line.",
        ),
    ],
    topk: Annotated[int, typer.Option(min=1, help="How many of the likeliest classes.")] = 5,
    output_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="table, csv, parquet, or json: one array of objects with image, labels, probabilities, exit and "
            "error. By default what FILE ends with, or table.",
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", "-b", min=1, help="Images at a time.")] = 32,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to a file instead of printing.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads that compute and decode; one for each core by default.")
    ] = None,
    explain: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Write a PNG for each image: where a network from a model folder saw its answer."
        ),
    ] = None,
) -> None:
    """Answer images with the likeliest classes, as training and evaluation would see them.

    Images that cannot be read are named with the reason, the others answered; the exit code is then 1.
    """
    chosen = format_of(output_format, output)
    if output is not None:
        check_file(output)
        make_folder(output.parent)
    paths = image_paths(images)
    predictor = _open(model, threads)
    explainer = None if explain is None else _explainer(predictor, model, explain)
    topk = min(topk, predictor.num_classes)

    from leannet_cli.console import ProgressOnErrorStream, make_console

    with ProgressOnErrorStream() as progress:
        bar = progress.bars.add_task("answering", total=len(paths), note="")
        predictions = predictor.predict(
            paths, topk, batch_size, on_batch=lambda done: progress.bars.update(bar, completed=done)
        )
    if explainer is not None and explain is not None:
        _explain(explainer, predictions, explain)
    if output is not None:
        write_predictions(output, predictions, chosen, topk)
    elif chosen == "table":
        print_table(make_console(), predictions)
    else:
        typer.echo(text_of(predictions, chosen, topk), nl=False)
    unread = sum(each.error is not None for each in predictions)
    if unread:
        typer.echo(f"leannet: {unread:,} of {len(predictions):,} images could not be read.", err=True)
        raise typer.Exit(EXIT_FAILURE)


def _open(model: Path, threads: int | None) -> Predictor:
    """Open a file without torch, a folder with it."""
    if not model.is_dir():
        from leannet_runtime import load

        return load(model, threads)
    import torch

    from leannet.deploy.predictor import load as load_any

    if threads is not None:
        torch.set_num_threads(threads)
    return load_any(model, threads)


def _explainer(predictor: Predictor, model: Path, folder: Path) -> Explainer:
    """Refuse before the first image what cannot be explained."""
    if not model.is_dir():
        why = "an exported file does not show its last feature map"
        raise UserError(f"--explain with {model}", why, "Give the model folder that it was made from")
    from leannet.deploy.explanation import Explainer
    from leannet.deploy.predictor import TorchPredictor

    assert isinstance(predictor, TorchPredictor)
    make_folder(folder)
    return Explainer(predictor, str(model))


def _explain(explainer: Explainer, predictions: Sequence[Prediction], folder: Path) -> None:
    """Write a picture for each image that was answered, numbered in their order."""
    for number, each in enumerate(predictions, start=1):
        if each.error is None:
            picture = explainer.overlay(each.name, each.labels[0])
            path = folder / f"{number:04d}-{Path(each.name).stem}.png"
            write_file(path, functools.partial(picture.save, format="PNG"))
