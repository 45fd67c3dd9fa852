"""``leannet export``: one file that runs anywhere, proven to answer as the network does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leannet_cli.export.web import begin_page, check_web_options, finish_page
from leannet_runtime.errors import UserError
from leannet_runtime.formats import FORMATS, format_of

if TYPE_CHECKING:
    from leannet.deploy.export import Exported, FileFormat, Preprocess

__all__ = ["export"]

EXIT_CHECK_FAILED = 3


def export(
    model: Annotated[Path, typer.Argument(metavar="MODEL_FOLDER", help="Folder with config.json and weights.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="model.onnx, model.xml ... in MODEL_FOLDER by default."),
    ] = None,
    file_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="onnx; openvino: FILE.xml and, beside it, FILE.bin; torch-export: a .pt2 program; executorch: a .pte "
            "program for phones and boards, of at most 8 images at once. By default what FILE ends with, or onnx. The "
            "programs take normalised images. Loading a .pt2 file may run code that lies in it: load only those that "
            "you made yourself.",
        ),
    ] = None,
    preprocess: Annotated[
        str | None,
        typer.Option(
            help="inside (default of onnx and openvino): the file takes uint8 pixels of any size, and resizes, crops "
            "and normalises them itself. outside: it takes normalised images, and its metadata says how they are made."
        ),
    ] = None,
    opset: Annotated[
        int | None,
        typer.Option(help="With --format onnx, version of ONNX's operators, 18 or newer; 18 by default."),
    ] = None,
    check_data: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="Images on which file and network are compared; by default those of the network's run, test part "
            "first, else scikit-learn's digits.",
        ),
    ] = None,
    check_images: Annotated[int, typer.Option(min=10, help="How many of them.")] = 200,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            help="Weights and activations of 8 bits. Several forms are tried, and each is measured against the network "
            "on its test part (else validation); the first that loses no more than --max-drop is taken.",
        ),
    ] = False,
    max_drop: Annotated[
        float | None,
        typer.Option(min=0, max=100, help="With --int8, points of top-1 accuracy that may be lost; 1 by default."),
    ] = None,
    calibration_images: Annotated[
        int | None,
        typer.Option(
            min=32, help="With --int8, images of the training part from which ranges are taken; 256 by default."
        ),
    ] = None,
    web: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write a page into DIR that runs the network in the browser, with all that it needs: about 14 MiB and "
            "the network. onnxruntime-web is fetched from the npm registry once.",
        ),
    ] = None,
    web_runtime: Annotated[
        Path | None,
        typer.Option(metavar="FILE.tgz", help="The archive of onnxruntime-web, where there is no network."),
    ] = None,
) -> None:
    """Export a network with its preprocessing, class names and weights into one file, and prove that file.

    The file is run on real images, in batches of 1, 2 and 7 and in odd sizes, and compared with the network. If it does
    not answer the same, no file is left and the exit code is 3.
    """
    chosen, where = _choices(file_format, preprocess, output)
    if opset is not None and chosen != "onnx":
        why = "the operators of ONNX alone have versions to choose from"
        raise UserError(f"--opset {opset} with {FORMATS[chosen].called}", why, "Leave --opset away")
    for option, value in (("--max-drop", max_drop), ("--calibration-images", calibration_images)):
        if value is not None and not int8:
            why = "it is for files of 8 bits"
            raise UserError(f"{option} {value:g} without --int8", why, "Pass --int8, or leave it away")
    check_web_options(web, web_runtime, output, chosen, where)

    from leannet.deploy.export import DEFAULT_OPSET, Int8, export_network
    from leannet.deploy.int8.outcome import DropTooLarge
    from leannet.deploy.proof import ProofFailed
    from leannet.models import read_model_config
    from leannet_cli.console import make_console
    from leannet_cli.export.int8_table import print_tried
    from leannet_cli.export.tables import print_export

    quantised = Int8(calibration_images or Int8.calibration_images, Int8.max_drop if max_drop is None else max_drop)
    file = output or (web or model) / f"model{FORMATS[chosen].ending}"
    progress = make_console(stderr=True)

    def tell(step: str) -> None:
        progress.print(f"{step} ...")

    read_model_config(model)  # before anything is fetched for a page
    runtime = None if web is None else begin_page(web, web_runtime, tell)
    try:
        exported: Exported = export_network(
            model,
            file,
            opset=DEFAULT_OPSET if opset is None else opset,
            preprocess=where,
            file_format=chosen,
            check_data=check_data,
            check_images=check_images,
            int8=quantised if int8 else None,
            on_step=tell,
        )
    except DropTooLarge as failure:
        print_tried(failure.tried, taken=False)
        typer.echo(f"leannet: --int8 of {model}: {failure}. Nothing is written.", err=True)
        raise typer.Exit(EXIT_CHECK_FAILED) from None
    except ProofFailed as failure:
        stays = ", and the one that was there stays as it is" if file.exists() else ""
        said = f"leannet: the file does not answer as {model} does: {failure}. It is not written{stays}."
        typer.echo(said, err=True)
        raise typer.Exit(EXIT_CHECK_FAILED) from None
    if exported.quantised is not None:
        print_tried(exported.quantised, taken=True)
    print_export(exported)
    if web is not None and runtime is not None:
        finish_page(exported, web, runtime)


def _choices(file_format: str | None, preprocess: str | None, output: Path | None) -> tuple[FileFormat, Preprocess]:
    by_ending = None if output is None else format_of(output)
    chosen = (by_ending or "onnx") if file_format is None else next((n for n in FORMATS if n == file_format), None)
    if chosen is None:
        raise UserError(f"--format {file_format}", "there is no such", f"Choose from {', '.join(FORMATS)}")
    if preprocess not in (None, "inside", "outside"):
        raise UserError(f"--preprocess {preprocess}", "it is neither inside nor outside", "Pass one of them")
    facts = FORMATS[chosen]
    if preprocess == "inside" and not facts.inside:
        why = f"{facts.called} holds the network alone"
        raise UserError(f"--preprocess inside with --format {chosen}", why, "Pass --preprocess outside")
    return chosen, "inside" if facts.inside and preprocess != "outside" else "outside"
