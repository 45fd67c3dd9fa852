"""``leannet search-alpha``: one training for each weight of the gates' loss, accuracy against MACs at the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leannet_cli import recipe_options as options
from leannet_cli.choices import plain_name
from leannet_runtime.errors import UserError
from leannet_runtime.files import make_folder, new_folder, write_csv

if TYPE_CHECKING:
    from leannet.training.runs import RunSettings

__all__ = ["search_alpha"]

DEFAULT_ALPHAS = "0,1e-5,1e-4,1e-3"
COLUMNS = ("alpha", "top1", "low", "high", "ensemble_top1", "gates_open", "macs", "folder")


def search_alpha(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A network with gates: emgnet56_cifar, emgnet50.")],
    data: Annotated[str, typer.Option(help="As for train.")],
    alphas: Annotated[
        str, typer.Option(help="Weights of the gates' loss, with commas between; larger ones close more gates.")
    ] = DEFAULT_ALPHAS,
    recipe: Annotated[str, typer.Option("--recipe", "--config", "-c", help="Recipe name or a YAML file.")] = "emgnet",
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    img_size: options.ImgSize = None,
    lr: options.LearningRate = None,
    amp: options.MixedPrecision = None,
    seed: Annotated[int, typer.Option(help="Of all trainings.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    workers: Annotated[int | None, typer.Option("--workers", "-j", min=1, help="Decoding threads.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the search; runs/search-alpha/NAME by default.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", callback=plain_name, help="NAME; that of the network by default.")
    ] = None,
) -> None:
    """Train once for each alpha (EMGNet, equation 7: found by grid search), and show what it buys.

    Into the same --output a second call adds what is missing: finished trainings stay, stopped ones go on.
    """
    del epochs, batch_size, img_size, lr, amp  # read from the context, with all other fields of the recipe
    values = _alphas(alphas)

    from leannet.training import load_recipe
    from leannet.training.checkpoints import find_checkpoint
    from leannet.training.runs import RunSettings, read_settings
    from leannet_cli.train.verb import run_training

    _check_gates(model)
    base = load_recipe(recipe).override(**options.given_fields(context))
    folder = output or new_folder("search-alpha", name or Path(model).name)
    make_folder(folder)
    rows = []
    for alpha in values:
        run = folder / f"alpha-{alpha:g}"
        settings = RunSettings(
            model=model, data=data, recipe=base.override(gate_alpha=alpha), seed=seed, device=device, workers=workers
        )
        begun = (run / "args.yaml").is_file()
        if begun and _deciding(read_settings(run / "args.yaml")) != _deciding(settings):
            why = "it was begun with other settings"
            raise UserError(f"cannot go on with {run}", why, "Choose another --output, or the settings of before")
        if not (run / "results.json").is_file():
            run_training(settings, run, find_checkpoint(run) if begun else None)
        rows.append(_row(alpha, run))
        write_csv(folder / "alphas.csv", COLUMNS, [[row[column] for column in COLUMNS] for row in rows])
    _print(rows, folder)


def _alphas(text: str) -> list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = [-1.0]
    if not all(0 <= value < float("inf") for value in values):
        raise UserError(f"--alphas {text}", "these are not numbers from 0 on with commas between", "Pass 0,1e-4,1e-3")
    return sorted(set(values))


def _deciding(settings: RunSettings) -> dict[str, Any]:
    """Return what a training depends on; where and how fast it runs may differ."""
    free = ("device", "workers", "checkpoint_every", "track")
    return {name: value for name, value in settings.arguments().items() if name not in free}


def _check_gates(model: str) -> None:
    from leannet.models import GateMeter, create_network

    if not GateMeter(create_network(model)).layers:
        remedy = "Give emgnet56_cifar, emgnet50, or a folder of one"
        raise UserError(f"{model} has no gates", "alpha is the weight of the loss that closes them", remedy)


def _row(alpha: float, run: Path) -> dict[str, Any]:
    """Return what a finished training came to, on the part by which one chooses."""
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    name = "validation" if "validation" in results else "test"
    part = results[name]
    gates = part["gates_open"]
    macs = results["exit_macs"]
    return {
        "alpha": f"{alpha:g}",
        "top1": f"{part['top1']['value']:.2f}",
        "low": f"{part['top1']['low']:.2f}",
        "high": f"{part['top1']['high']:.2f}",
        "ensemble_top1": f"{part['exits']['ensemble']['value']:.2f}",
        "gates_open": f"{sum(gates.values()) / len(gates):.4f}",
        "macs": f"{macs['by_part'][name][-1]:.0f}",
        "folder": str(run),
    }


def _print(rows: list[dict[str, Any]], folder: Path) -> None:
    from rich.table import Table

    from leannet_cli.console import make_console
    from leannet_cli.numbers import count_text

    console = make_console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    headings = ("alpha", "validation top-1 %", "95 % interval", "ensemble %", "gates open %", "MACs with heads")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row["alpha"],
            row["top1"],
            f"{row['low']} - {row['high']}",
            row["ensemble_top1"],
            f"{100 * float(row['gates_open']):.1f}",
            count_text(float(row["macs"])),
        )
    console.print()
    console.print(table)
    best = max(rows, key=lambda row: float(row["top1"]))
    console.print(f"\nWritten to {folder}: alphas.csv, and a run folder for each alpha")
    console.print(f"Next: leannet calibrate {best['folder']}/best")
