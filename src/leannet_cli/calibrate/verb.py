"""``leannet calibrate``: when images may leave a network with exits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leannet_cli.choices import bad_images_choice, plain_name
from leannet_cli.numbers import count_value
from leannet_runtime.errors import UserError
from leannet_runtime.files import make_folder, new_folder, write_csv, write_json, write_text

if TYPE_CHECKING:
    from leannet.data import BadImages, Pixels
    from leannet.early_exit import Calibration
    from leannet.training import SavedNetwork

__all__ = ["calibrate"]

DEFAULT_DROP = 0.5  # points


def calibrate(
    model: Annotated[Path, typer.Argument(metavar="MODEL_FOLDER", help="Folder of a network with exits.")],
    data: Annotated[
        str | None, typer.Option(help="Images to choose by; by default the validation part of the network's own run.")
    ] = None,
    split: Annotated[str, typer.Option(help="Which part of --data; of the run's own data only validation.")] = (
        "validation"
    ),
    max_drop: Annotated[
        float | None,
        typer.Option(metavar="POINTS", help="As cheap as can be, at most so far below the full network; 0.5 default."),
    ] = None,
    budget_macs: Annotated[
        str | None, typer.Option(metavar="COUNT", help="As accurate as can be for so many MACs in the mean: 40M.")
    ] = None,
    budget_ms: Annotated[
        float | None,
        typer.Option(metavar="MS", help="As accurate as can be for so many milliseconds in the mean, on this machine."),
    ] = None,
    rule: Annotated[str, typer.Option(help="How sure an exit is: confidence, entropy or margin.")] = "confidence",
    ensemble: Annotated[
        bool, typer.Option("--ensemble/--no-ensemble", help="All exits together answer images that reach the end.")
    ] = False,
    rounds: Annotated[int, typer.Option(min=3, help="Rounds in which the exits are timed.")] = 30,
    batch_size: Annotated[int, typer.Option("--batch-size", "-b", min=1, help="Images at a time.")] = 128,
    bad_images: Annotated[str, typer.Option(help="error, or skip: what to do with images that cannot be read.")] = (
        "error"
    ),
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    workers: Annotated[
        int | None, typer.Option("--workers", "-j", min=1, help="Decoding threads; one for each core by default.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print results.json instead of tables.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of this calibration; runs/calibrate/NAME by default.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", callback=plain_name, help="NAME; that of the network's run by default.")
    ] = None,
) -> None:
    """Choose a temperature and a threshold for each exit, and write them into the model folder.

    predict, evaluate and export then let images leave as soon as an exit is sure.
    """
    damaged = bad_images_choice(bad_images)
    macs = None if budget_macs is None else count_value(budget_macs, "--budget-macs")
    if max_drop is None and macs is None and budget_ms is None:
        max_drop = DEFAULT_DROP

    from leannet.early_exit import Goal, check_exits, check_rule, write_policy
    from leannet.training import environment, load_saved_network, run_name

    goal = Goal(max_drop, macs, budget_ms)
    check_rule(rule)
    folder = output or new_folder("calibrate", name or run_name(model))
    if any((folder / file).exists() for file in ("args.yaml", "results.json", "config.json")):
        raise UserError(f"cannot write to {folder}", "it holds a run", "Choose another --output")
    network = load_saved_network(model)
    check_exits(network.model, str(model))
    pixels, described = _images(network, data, split, damaged, workers)
    calibration = _calibrate(network, pixels, goal, rule, ensemble, rounds, batch_size, device, budget_macs)

    make_folder(folder)
    record = {**described, "goal": {k: v for k, v in vars(goal).items() if v is not None}, **calibration.record()}
    _write(folder, calibration, model, record)
    write_json(folder / "environment.json", environment())
    write_policy(model, calibration.policy, record)
    if json_output:
        typer.echo((folder / "results.json").read_text(encoding="utf-8"), nl=False)
        return
    from leannet_cli.calibrate.tables import print_calibration

    print_calibration(calibration, model, folder)


def _images(
    network: SavedNetwork, data: str | None, split: str, bad_images: BadImages, workers: int | None
) -> tuple[Pixels, dict[str, Any]]:
    """Return the images to choose by, and what the record says of them."""
    from leannet.data import load_pixels
    from leannet.data.split import split_word
    from leannet.training.runs import is_run_data, open_run_source

    source = open_run_source(network.folder, data, bad_images=bad_images, workers=workers)
    part = split_word(split) or split
    if part != "validation" and is_run_data(network.folder, data):
        why = "thresholds chosen on images that the network has learned from, or is judged on, promise too much"
        raise UserError(f"--split {split}", why, "Leave it away, or give other --data")
    if part not in source.splits:
        there = " and ".join(source.splits)
        remedy = "Pass one of them as --split if the network has not learned from it"
        raise UserError(f"no part {split} to choose by", f"{source.location} has {there}", remedy)
    pixels = load_pixels(source, part, network.preprocessing)
    described = {"data": source.name, "split": part, "fingerprint": source.fingerprint, "notes": list(source.notes)}
    return pixels, described


def _calibrate(
    network: SavedNetwork,
    pixels: Pixels,
    goal: Any,
    rule: str,
    ensemble: bool,
    rounds: int,
    batch_size: int,
    device: str,
    budget_macs: str | None,
) -> Calibration:
    import torch

    from leannet.data import EvalBatches
    from leannet.early_exit import calibrate as choose
    from leannet.early_exit import collect_answers, measure_exit_latency
    from leannet.training import make_accelerator
    from leannet_cli.console import ProgressOnErrorStream

    place = make_accelerator(device).device
    model = network.model.to(place).to(memory_format=torch.channels_last)
    size = network.preprocessing.img_size
    batches = EvalBatches(pixels, network.preprocessing, batch_size)
    with ProgressOnErrorStream() as progress:
        task = progress.bars.add_task("answering", total=len(pixels), note="")
        answers = collect_answers(model, batches, size, place, lambda done: progress.bars.update(task, completed=done))
        timing = progress.bars.add_task("timing", total=None, note="")
        image = torch.zeros(1, int(getattr(model, "in_chans", 3)), size, size, device=place)
        latency = measure_exit_latency(
            model,
            image.contiguous(memory_format=torch.channels_last),
            rounds=rounds,
            on_round=lambda done, total: progress.bars.update(timing, completed=done, total=total),
        )
    text = f"--budget-macs {budget_macs}" if budget_macs is not None else ""
    exit_ms = [each.median_ms for each in latency]
    return choose(answers, exit_ms, goal, rule=rule, ensemble=ensemble, budget_text=text)


def _write(folder: Path, calibration: Calibration, model: Path, record: dict[str, Any]) -> None:
    from leannet.early_exit import curve_table, draw_curve

    results = {"model": str(model), "policy": calibration.policy.as_config(), **record}
    write_json(folder / "results.json", results)
    write_csv(folder / "curve.csv", *curve_table(calibration))
    images, rule = calibration.full.images, calibration.policy.rule
    title = f"{record['split']} part of {record['data']}, {images:,} images, rule {rule}"
    write_text(folder / "curve.svg", draw_curve(calibration, title))
