"""``leannet train``: train one network, so that it can be stopped at any moment and trusted afterwards."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leannet_cli import recipe_options as options
from leannet_cli.choices import bad_images_choice, plain_name
from leannet_runtime.errors import UserError

if TYPE_CHECKING:
    from leannet.training.runs import RunSettings

__all__ = ["NEWEST", "run_training", "train"]

NEWEST = "newest"
"""What ``--resume`` means without a value."""


def train(
    context: typer.Context,
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="timm name, torchvision/NAME, or a model folder to fine-tune.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="digits (default), an image folder, a CSV, TSV or parquet file, or OWNER/NAME on the Hub."),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            "--config",
            "-c",
            help="Recipe name, or a YAML file such as the args.yaml of a run; digits for the digits, else default.",
        ),
    ] = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    grad_accum_steps: options.GradAccumSteps = None,
    img_size: options.ImgSize = None,
    lr: options.LearningRate = None,
    min_lr: options.MinLearningRate = None,
    opt: options.Optimizer = None,
    momentum: options.Momentum = None,
    sched: options.Schedule = None,
    decay_epochs: options.DecayEpochs = None,
    decay_rate: options.DecayRate = None,
    warmup_epochs: options.WarmupEpochs = None,
    weight_decay: options.WeightDecay = None,
    smoothing: options.Smoothing = None,
    mixup: options.Mixup = None,
    cutmix: options.Cutmix = None,
    aa: options.AutoAugment = None,
    reprob: options.RandomErase = None,
    hflip: options.Flip = None,
    padding: options.Padding = None,
    scale_min: options.ScaleMin = None,
    crop_pct: options.CropPct = None,
    interpolation: options.Interpolation = None,
    drop: options.Drop = None,
    model_ema: options.ModelEma = None,
    model_ema_decay: options.ModelEmaDecay = None,
    clip_grad: options.ClipGrad = None,
    amp: options.MixedPrecision = None,
    class_weights: options.ClassWeights = None,
    sampler: options.SamplerName = None,
    pretrained: options.Pretrained = None,
    weights: Annotated[
        str | None, typer.Option(metavar="FILE", help="Begin with these weights: .safetensors, or .pth of tensors.")
    ] = None,
    freeze: options.Freeze = None,
    teacher: options.TeacherName = None,
    distill_alpha: options.DistillAlpha = None,
    distill_temperature: options.DistillTemperature = None,
    exits: options.Exits = None,
    exit_head: options.ExitHeadName = None,
    exit_loss: options.ExitLossName = None,
    exit_distill_alpha: options.ExitDistillAlpha = None,
    exit_distill_temperature: options.ExitDistillTemperature = None,
    exit_feature_weight: options.ExitFeatureWeight = None,
    gate_alpha: options.GateAlpha = None,
    small_input: options.SmallInput = None,
    channels_last: Annotated[
        bool | None,
        typer.Option("--channels-last/--no-channels-last", help="How weights and images lie in memory; so by default."),
    ] = None,
    compile_network: Annotated[
        bool | None, typer.Option("--compile/--no-compile", help="Compile the network with torch.compile.")
    ] = None,
    sync_bn: Annotated[
        bool | None,
        typer.Option("--sync-bn/--no-sync-bn", help="Batch norm over all processes (default), or in each alone."),
    ] = None,
    val_fraction: Annotated[
        float | None,
        typer.Option(help="Share of the training part to choose the best epoch by, where there is no validation part."),
    ] = None,
    bad_images: Annotated[
        str | None, typer.Option(help="skip (and count), or error: what to do with images that cannot be read.")
    ] = None,
    ignore_unknown_classes: Annotated[
        bool, typer.Option("--ignore-unknown-classes", help="Leave out images of classes that the training part lacks.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Of weights, order and augmentation; 0 by default.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    workers: Annotated[
        int | None, typer.Option("--workers", "-j", min=1, help="Decoding threads; one for each core by default.")
    ] = None,
    checkpoint_every: Annotated[
        str, typer.Option(metavar="TIME", help="Time between checkpoints inside an epoch: 30s, 5m, 1h.")
    ] = "5m",
    resume: Annotated[
        str | None,
        typer.Option(metavar="[RUN]", help="Go on with a run folder; without a value the newest unfinished one."),
    ] = None,
    track: Annotated[
        list[str] | None, typer.Option(help="tensorboard, wandb, mlflow or trackio; may be given several times.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of this run; runs/train/NAME by default.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", callback=plain_name, help="NAME; MODEL-DATA by default.")
    ] = None,
) -> None:
    """Train a network: the best epoch is chosen on the validation part, and judged once on the test part.

    Ctrl-C writes a checkpoint; --resume goes on as if nothing had happened.
    """
    seconds = _seconds(checkpoint_every)
    # What may change when a run goes on. Only another device changes the result, by how it rounds.
    free: dict[str, Any] = {
        "device": device,
        "workers": workers,
        "checkpoint_every": seconds,
        "track": tuple(track or ()),
    }
    if resume is not None:
        _resume(context, resume, free)
        return
    damaged = None if bad_images is None else bad_images_choice(bad_images)

    from leannet.training import load_recipe
    from leannet.training.runs import RunSettings, new_run_folder

    before = _settings_in(recipe)
    model = model or before.get("model")
    if model is None:
        raise UserError("no network", "MODEL is missing", "Name one, such as sm_v2; `leannet models` lists them")
    data = data or before.get("data") or "digits"
    chosen = recipe or ("digits" if data == "digits" else "default")
    given = {
        "seed": seed,
        "val_fraction": val_fraction,
        "bad_images": damaged,
        "weights": weights,
        "channels_last": channels_last,
        "compile": compile_network,
        "sync_bn": sync_bn,
    }
    settings = RunSettings(
        model=model,
        data=data,
        recipe=load_recipe(chosen).override(**options.given_fields(context)),
        ignore_unknown_classes=ignore_unknown_classes or bool(before.get("ignore_unknown_classes")),
        **{field: before[field] for field in given if field in before}
        | {field: value for field, value in given.items() if value is not None},
        **free,
    )
    folder = output or new_run_folder(model, data, name)
    if (folder / "args.yaml").exists():
        remedy = f"Go on with it by --resume {folder}, or choose another --output"
        raise UserError(f"cannot train into {folder}", "it holds a run", remedy)
    run_training(settings, folder, None)


def _resume(context: typer.Context, run: str, free: dict[str, Any]) -> None:
    """Go on with a run, with its own settings."""
    given = [name for name in context.params if _was_given(context, name)]
    if fixed := [name for name in given if name not in (*free, "resume")]:
        name = next(parameter.opts[0] for parameter in context.command.params if parameter.name == fixed[0])
        option = name if name.startswith("--") else name.upper()
        raise UserError(f"{option} with --resume", "a run goes on with the settings it was begun with", "Leave it away")

    from dataclasses import replace

    from leannet.training.checkpoints import find_checkpoint
    from leannet.training.runs import newest_run, read_settings

    folder = newest_run() if run == NEWEST else Path(run)
    checkpoint = None
    if folder.name in ("last", "previous") and (folder.parent / "args.yaml").is_file():
        folder, checkpoint = folder.parent, folder
    if not (folder / "args.yaml").is_file():
        raise UserError(f"cannot resume {run}", "it is no run folder (no args.yaml)", "Name a folder in runs/train")
    if (folder / "results.json").is_file():
        raise UserError(f"cannot resume {folder}", "it is finished", f"See {folder}/results.json, or train anew")
    settings = read_settings(folder / "args.yaml")
    changed = {field: value for field, value in free.items() if field in given}
    run_training(replace(settings, **changed), folder, checkpoint or find_checkpoint(folder))


def _was_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _settings_in(recipe: str | None) -> dict[str, Any]:
    """Return what else stands in a recipe file, if it is the args.yaml of a run; `load_recipe` refuses what is none."""
    if recipe is None or not Path(recipe).is_file():
        return {}
    import yaml

    try:
        fields = yaml.safe_load(Path(recipe).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return fields if isinstance(fields, dict) and "model" in fields else {}


def _seconds(text: str) -> float:
    """Read 30s, 5m, 1h; a bare number is seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|h)?", text.strip())
    if match is None:
        raise UserError(f"--checkpoint-every {text}", "not a time", "Pass 30s, 5m or 1h, say")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600, None: 1}[match[2]]


def run_training(settings: RunSettings, folder: Path, checkpoint: Path | None) -> None:
    """Run a training with its progress and its results on the terminal; a stop ends the command."""
    from leannet.training.runs import Stopped
    from leannet.training.runs import train as run
    from leannet_cli.train.progress import TrainProgress
    from leannet_cli.train.results import print_results

    with TrainProgress(folder) as progress:
        try:
            results = run(settings, folder, progress, resume=checkpoint)
        except Stopped as stop:
            progress.stopped()
            raise typer.Exit(128 + stop.signal_number) from None
    if progress.speaks:
        print_results(results, folder)
