"""``leannet evaluate``: judge a saved network, alone or against another one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leannet_cli.choices import bad_images_choice, plain_name
from leannet_runtime.errors import UserError
from leannet_runtime.files import new_folder

if TYPE_CHECKING:
    from leannet.report.evaluation import Evaluation, EvaluationResult

__all__ = ["evaluate"]

EXIT_CHECK_FAILED = 3


def evaluate(
    model: Annotated[Path, typer.Argument(metavar="MODEL_FOLDER", help="Folder with config.json and weights.")],
    data: Annotated[
        str | None,
        typer.Option(
            help="digits, an image folder, a CSV, TSV or parquet file, or OWNER/NAME on the Hub; by default what the "
            "network was trained on, if its run says so."
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="test, validation or train; test by default, validation where there is none.")
    ] = None,
    other: Annotated[
        Path | None,
        typer.Option("--compare", metavar="OTHER_FOLDER", help="Judge this network on the same images too."),
    ] = None,
    min_acc: Annotated[
        float | None, typer.Option(metavar="PERCENT", help="End with exit code 3 if top-1 is below.")
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", "-b", min=1, help="Images at a time.")] = 128,
    img_size: Annotated[
        int | None,
        typer.Option("--img-size", "--imgsz", min=1, help="Side of the images; that of the model folder by default."),
    ] = None,
    bad_images: Annotated[str, typer.Option(help="error, or skip: what to do with images that cannot be read.")] = (
        "error"
    ),
    ignore_unknown_classes: Annotated[
        bool, typer.Option("--ignore-unknown-classes", help="Leave out images of classes that the network lacks.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    workers: Annotated[
        int | None, typer.Option("--workers", "-j", min=1, help="Decoding threads; one for each core by default.")
    ] = None,
    channels_last: Annotated[
        bool, typer.Option("--channels-last/--no-channels-last", help="Memory format of network and images.")
    ] = True,
    early_exit: Annotated[
        bool,
        typer.Option(
            "--early-exit/--no-early-exit",
            help="Let images leave a network with exits as it was calibrated (default), or run it to the end for all.",
        ),
    ] = True,
    json_output: Annotated[bool, typer.Option("--json", help="Print results.json instead of tables.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of this evaluation; runs/evaluate/NAME by default.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", callback=plain_name, help="NAME; that of the network's run by default.")
    ] = None,
) -> None:
    """Judge a network on labelled images: accuracy with intervals, every class, calibration, what goes wrong."""
    damaged = bad_images_choice(bad_images)
    if min_acc is not None and not 0 <= min_acc <= 100:
        raise UserError(f"--min-acc {min_acc:g}", "it is not a percentage", "Pass a number from 0 to 100")

    from leannet.report.evaluation import Evaluation
    from leannet.training import run_name

    evaluation = Evaluation(
        model=model,
        data=data or None,
        split=split,
        other=other,
        img_size=img_size,
        batch_size=batch_size,
        bad_images=damaged,
        ignore_unknown_classes=ignore_unknown_classes,
        device=device,
        workers=workers,
        channels_last=channels_last,
        early_exit=early_exit,
    )
    folder = output or new_folder("evaluate", name or run_name(model))
    result = _run(evaluation, folder)
    if json_output:
        typer.echo((folder / "results.json").read_text(encoding="utf-8"), nl=False)
    else:
        _print(result, folder)
    top1 = result.accuracy.top1.value
    if min_acc is not None and top1 < min_acc:
        typer.echo(f"leannet: top-1 {top1:.2f} % is below --min-acc {min_acc:g}.", err=True)
        raise typer.Exit(EXIT_CHECK_FAILED)


def _run(evaluation: Evaluation, folder: Path) -> EvaluationResult:
    from leannet.report.evaluation import run_evaluation
    from leannet_cli.evaluate.progress import EvaluateProgress

    with EvaluateProgress() as progress:
        return run_evaluation(evaluation, folder, progress)


def _print(result: EvaluationResult, folder: Path) -> None:
    from leannet_cli.console import make_console
    from leannet_cli.evaluate.tables import print_evaluation

    console = make_console()
    console.print()
    print_evaluation(console, result)
    console.print(
        f"\nWritten to {folder}: results.json, predictions.csv, per_class.csv, confusion_matrix.csv and .svg,"
    )
    console.print("confidently_wrong.csv and .png, args.yaml, environment.json")
    console.print(f"Next: leannet profile {result.network.folder} --per-layer")
