"""``leannet export``: one file that runs anywhere, proven to answer as the network does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leannet_runtime.errors import UserError

if TYPE_CHECKING:
    from leannet.deploy.export import Exported, FileFormat, Preprocess

__all__ = ["export"]

EXIT_CHECK_FAILED = 3


def export(
    model: Annotated[Path, typer.Argument(metavar="MODEL_FOLDER", help="Folder with config.json and weights.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="model.onnx or model.pt2 in MODEL_FOLDER by default."),
    ] = None,
    file_format: Annotated[
        str,
        typer.Option(
            "--format",
            help="onnx, or torch-export: a .pt2 program for normalised images. Loading a .pt2 file may run code that "
            "lies in it: load only those that you made yourself.",
        ),
    ] = "onnx",
    preprocess: Annotated[
        str | None,
        typer.Option(
            help="inside (default of onnx): the file takes uint8 pixels of any size, and resizes, crops and normalises "
            "them itself. outside: it takes normalised images, and says in its metadata how they are made."
        ),
    ] = None,
    opset: Annotated[int, typer.Option(help="Version of ONNX's operators, 18 or newer.")] = 18,
    check_data: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="Images on which file and network are compared; by default those of the network's run, test part "
            "first, else scikit-learn's digits.",
        ),
    ] = None,
    check_images: Annotated[int, typer.Option(min=10, help="How many of them.")] = 200,
) -> None:
    """Export a network with its preprocessing, class names and weights into one file, and prove that file.

    The file is run on real images, in batches of 1, 2 and 7 and in odd sizes, and compared with the network. If it does
    not answer the same, no file is left and the exit code is 3.
    """
    chosen, where = _choices(file_format, preprocess)

    from leannet.deploy.export import ENDINGS, export_network
    from leannet.deploy.proof import ProofFailed
    from leannet_cli.console import make_console
    from leannet_cli.export.tables import print_export

    file = output or model / f"model{ENDINGS[chosen]}"
    progress = make_console(stderr=True)
    try:
        exported: Exported = export_network(
            model,
            file,
            opset=opset,
            preprocess=where,
            file_format=chosen,
            check_data=check_data,
            check_images=check_images,
            on_step=lambda step: progress.print(f"{step} ..."),
        )
    except ProofFailed as failure:
        stays = ", and the one that was there stays as it is" if file.exists() else ""
        said = f"leannet: the file does not answer as {model} does: {failure}. It is not written{stays}."
        typer.echo(said, err=True)
        raise typer.Exit(EXIT_CHECK_FAILED) from None
    print_export(exported)


def _choices(file_format: str, preprocess: str | None) -> tuple[FileFormat, Preprocess]:
    if file_format not in ("onnx", "torch-export"):
        raise UserError(f"--format {file_format}", "it is neither onnx nor torch-export", "Pass one of them")
    if preprocess not in (None, "inside", "outside"):
        raise UserError(f"--preprocess {preprocess}", "it is neither inside nor outside", "Pass one of them")
    if file_format == "torch-export":
        if preprocess == "inside":
            why = "a program of torch.export holds the network alone"
            raise UserError("--preprocess inside with --format torch-export", why, "Pass --preprocess outside")
        return "torch-export", "outside"
    return "onnx", "outside" if preprocess == "outside" else "inside"
