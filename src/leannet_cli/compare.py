"""``leannet compare``: train networks alike and put them beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leannet_cli import recipe_options as options
from leannet_cli.choices import bad_images_choice, plain_name
from leannet_runtime.errors import EXIT_INTERRUPTED, UserError
from leannet_runtime.files import numbered_folders

if TYPE_CHECKING:
    from leannet.report import ComparisonRow, Sweep

__all__ = ["compare"]

DEFAULT_NETWORKS = ("mobilenetv2_100", "sm_v2", "efficientnet_b0", "efficientnet_b0_dmp")


def compare(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help=f"Networks; {', '.join(DEFAULT_NETWORKS)} by default."),
    ] = None,
    data: Annotated[
        str, typer.Option(help="digits, an image folder, a parquet file or folder, or OWNER/NAME on the Hub.")
    ] = "digits",
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    img_size: options.ImgSize = None,
    lr: options.LearningRate = None,
    opt: options.Optimizer = None,
    sched: options.Schedule = None,
    weight_decay: options.WeightDecay = None,
    warmup_epochs: options.WarmupEpochs = None,
    smoothing: options.Smoothing = None,
    mixup: options.Mixup = None,
    hflip: options.Flip = None,
    drop: options.Drop = None,
    small_input: options.SmallInput = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe", "--config", "-c", help="Recipe name or YAML file; digits for the digits, else default."
        ),
    ] = None,
    seeds: Annotated[str, typer.Option(help="Seeds, with commas.")] = "0",
    bad_images: Annotated[str, typer.Option(help="error, or skip: what to do with images that cannot be read.")] = (
        "error"
    ),
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    workers: Annotated[
        int | None, typer.Option("--workers", "-j", min=1, help="Decoding threads; one for each core by default.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of this comparison; runs/compare/NAME by default.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", callback=plain_name, help="NAME; that of the data by default.")
    ] = None,
) -> None:
    """Train each network with the same recipe on the same data, judge it on the held-out part, and show a table."""
    damaged = bad_images_choice(bad_images)
    seed_numbers = _seeds(seeds)

    from leannet.report import Sweep
    from leannet.training import load_recipe

    chosen = recipe or ("digits" if data == "digits" else "default")
    sweep = Sweep(
        networks=tuple(dict.fromkeys(names or DEFAULT_NETWORKS)),
        data=data,
        seeds=seed_numbers,
        recipe=load_recipe(chosen).override(**options.given_fields(context)),
        bad_images=damaged,
        device=device,
        workers=workers,
    )
    _run(sweep, output or _default_folder(sweep, name))


def _seeds(text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 0 or max(numbers) >= 2**63:
        raise UserError(f"--seeds {text}", "seeds are whole numbers from 0 on, with commas", "Pass 0,1,2, say")
    return tuple(dict.fromkeys(numbers))


def _default_folder(sweep: Sweep, name: str | None) -> Path:
    """Return ``runs/compare/NAME``; with -2, -3 ... behind it where another comparison has that name."""
    from leannet.report import settings_of

    given = Path(sweep.data).expanduser()
    base = name or (given.resolve().name if given.is_dir() else given.stem)
    folders = numbered_folders("compare", base)
    return next(folder for folder in folders if settings_of(folder) in (None, sweep.settings()))


def _run(sweep: Sweep, folder: Path) -> None:
    from leannet.report import compare as run
    from leannet_cli.compare_progress import CompareProgress

    with CompareProgress() as progress:
        try:
            rows = run(sweep, folder, progress)
        except KeyboardInterrupt:
            progress.close()
            typer.echo(
                f"leannet: interrupted: {progress.finished} of {progress.total} trainings are finished and kept in "
                f"{folder}; one that was going on begins anew. Run the same command again to go on.",
                err=True,
            )
            raise typer.Exit(EXIT_INTERRUPTED) from None
    _print(rows, folder, sweep)


def _print(rows: list[ComparisonRow], folder: Path, sweep: Sweep) -> None:
    from leannet_cli.compare_table import print_comparison
    from leannet_cli.console import make_console

    console = make_console()
    console.print()
    print_comparison(console, rows)
    page = "report.html, " if (folder / "report.html").is_file() else ""
    console.print(f"\nWritten to {folder}: {page}results.csv, results.json, args.yaml, environment.json, splits.json,")
    best = f"{folder}/networks/{rows[0].network.replace('/', '_')}/seed-{sweep.seeds[0]}"
    console.print(f"and a model folder for each network, such as {best}")
    console.print(f"Next: leannet profile {best} --per-layer")
