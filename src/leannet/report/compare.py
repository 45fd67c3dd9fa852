"""Train networks alike on the same data, judge them on the same images, and put them beside each other."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
import yaml
from safetensors.torch import load, save
from torch import nn

from leannet.data import SPLIT_SEED, BadImages, Source, open_source
from leannet.measure import MACS_RULE, Latency, measure_latency
from leannet.measure.bench import LoadMeter
from leannet.models import check_name, create_network
from leannet.report.bench.notes import others_text
from leannet.report.runs import RunObserver, RunRecord, finished_runs, read_record, train_run
from leannet.report.table import ComparisonRow, comparison_rows, write_results
from leannet.training import (
    PreparedData,
    Recipe,
    check_network,
    check_training,
    environment,
    make_accelerator,
    make_network,
    prepare_data,
    settle_recipe,
)
from leannet_runtime import UserError
from leannet_runtime.files import make_folder, write_json, write_text

__all__ = ["Observer", "Sweep", "compare", "settings_of"]

LATENCY_ROUNDS = 30


@dataclass(frozen=True)
class Sweep:
    """What is compared, and how."""

    networks: tuple[str, ...]
    data: str
    seeds: tuple[int, ...]
    recipe: Recipe
    bad_images: BadImages = "error"
    device: str = "auto"
    workers: int | None = None

    def settings(self) -> dict[str, Any]:
        """Return what two runs that share a folder must agree in; networks and seeds may be added."""
        return {"data": self.data, "bad_images": self.bad_images, "recipe": self.recipe.as_dict()}

    def arguments(self) -> dict[str, Any]:
        """Return the content of ``args.yaml``."""
        return {"networks": list(self.networks), "seeds": list(self.seeds), **self.settings()}


class Observer(RunObserver, Protocol):
    """Who is told how far a sweep is; the command line draws bars."""

    def reading(self, done: int, total: int) -> None:
        """Images are being decoded."""

    def data_ready(self, data: PreparedData) -> None:
        """The images are ready, before the first training."""

    def run_started(self, number: int, total: int, network: str, seed: int, steps: int) -> None:
        """Training begins; `number` counts from 1, `steps` are those of one epoch."""

    def run_finished(self, number: int, total: int, record: RunRecord, kept: bool) -> None:
        """The files of a network are written (`kept`: by an earlier sweep)."""

    def measuring_latency(self, done: int, total: int) -> None:
        """One round of the latency measurement is done."""

    def warning(self, text: str) -> None:
        """Something went wrong that does not touch the results."""


def settings_of(folder: Path) -> dict[str, Any] | None:
    """Return the settings with which a sweep was begun in a folder, None if there was none."""
    path = folder / "args.yaml"
    if not path.is_file():
        return None
    try:
        arguments = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        arguments = None
    if not isinstance(arguments, dict) or not isinstance(arguments.get("recipe"), dict):
        raise UserError(f"cannot use {folder}", "its args.yaml is not that of a comparison", "Choose another --output")
    return {name: arguments.get(name) for name in ("data", "bad_images", "recipe")}


def compare(sweep: Sweep, folder: Path, observer: Observer) -> list[ComparisonRow]:
    """Run a sweep; what an earlier one with the same settings left in the folder is kept, and stands beside it.

    Args:
        sweep: What is compared.
        folder: Where everything is written: ``args.yaml``, ``environment.json``, ``splits.json``, ``results.csv``,
            ``results.json``, ``report.html``, small copies of images on which networks disagree, and
            ``networks/NETWORK/seed-SEED/``, each a model folder with ``record.json``, ``environment.json``,
            ``epochs.csv`` and ``predictions.csv``.
        observer: Told of every step.

    Returns:
        The rows of the table, the most accurate first; those of earlier sweeps in this folder among them.

    Raises:
        UserError: Something given does not fit; nothing that was finished is lost.
    """
    for network in sweep.networks:
        check_name(network)
    accelerator = make_accelerator(sweep.device, amp=sweep.recipe.amp)
    source = open_source(
        sweep.data,
        seed=SPLIT_SEED,
        bad_images=sweep.bad_images,
        workers=sweep.workers,
        progress=observer.reading,
    )
    recipe = settle_recipe(sweep.recipe, source)
    for network in sweep.networks:
        _try_out(network, source, recipe)
    _begin(sweep, folder, source)
    data = prepare_data(source, recipe)
    runs = [(network, seed) for seed in sweep.seeds for network in sweep.networks]
    records = [record for record in finished_runs(folder) if (record.network, record.seed) not in runs]
    networks = tuple(dict.fromkeys((*sweep.networks, *(record.network for record in records))))
    seeds = tuple(dict.fromkeys((*sweep.seeds, *(record.seed for record in records))))
    everything = replace(sweep, networks=networks, seeds=seeds)
    _keep_circumstances(folder)
    write_text(folder / "args.yaml", yaml.safe_dump(everything.arguments(), sort_keys=False))
    write_json(folder / "environment.json", environment() | {"seeds": seeds, "data": data.description()})
    write_json(folder / "splits.json", source.split_lists)
    observer.data_ready(data)

    circumstances: dict[str, Any] = {
        "data": data.description(),
        "recipe": data.recipe.as_dict(),
        "macs_rule": MACS_RULE,
        "latency": "PyTorch eager on the CPU, batch 1, float32, networks in turns in shuffled order",
    }
    for number, (network, seed) in enumerate(runs, start=1):
        run_folder = _run_folder(folder, network, seed)
        record = read_record(run_folder)
        kept = record is not None
        if record is None:
            observer.run_started(number, len(runs), network, seed, len(data.train_batches(seed)))
            record = train_run(network, seed, data, run_folder, accelerator, observer)
        records.append(record)
        if not kept:  # what is known if it is stopped now
            write_results(comparison_rows(records, {}), folder, circumstances)
        observer.run_finished(number, len(runs), record, kept)
    records.sort(key=lambda record: (networks.index(record.network), record.seed))
    first = {record.network: _run_folder(folder, record.network, record.seed) for record in reversed(records)}
    # An earlier network whose weights were removed has no latency, and is no reason to fail.
    there = {name: first[name] for name in networks if (first[name] / "config.json").is_file()}
    load = LoadMeter()
    latencies = _latencies(there, data, observer)
    circumstances["latency"] += others_text(load.finish().others)
    rows = comparison_rows(records, latencies)
    write_results(rows, folder, circumstances)
    _report([first[name] for name in networks], folder, data, observer)
    return rows


def _report(first: list[Path], folder: Path, data: PreparedData, observer: Observer) -> None:
    """Write the page. The records are there already: what goes wrong here is no reason to fail."""
    try:
        from leannet.report.html import REPORT, keep_disagreements, write_report

        (folder / REPORT).unlink(missing_ok=True)  # it may tell of fewer networks
        keep_disagreements(folder, data.held_out.split, data.source.class_names, first)
        write_report([folder], folder / REPORT)
    except Exception as error:
        why = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        observer.warning(f"no report was written: {why}. `leannet report {shlex.quote(str(folder))}` makes it")


def _try_out(network: str, source: Source, recipe: Recipe) -> None:
    """Build a network and send an image through: the time to find that it cannot be built is before the first one."""
    assert recipe.img_size is not None
    model, _ = make_network(network, source.class_names, recipe)
    check_network(model, network, len(source.class_names), recipe.img_size)
    check_training(model, recipe)
    try:  # some networks want more than the weights that safetensors keeps
        model.load_state_dict(load(save({name: tensor.contiguous() for name, tensor in model.state_dict().items()})))
    except (RuntimeError, ValueError) as error:
        why = f"its weights cannot be read back from safetensors ({str(error).splitlines()[0]})"
        raise UserError(f"cannot compare {network}", why, "Choose another network") from error


def _begin(sweep: Sweep, folder: Path, source: Source) -> None:
    """Make the folder, or make sure that what is in it was made with the same settings."""
    make_folder(folder)
    earlier, now = settings_of(folder), sweep.settings()
    if earlier is None:
        return
    if earlier == now:
        described = folder / "environment.json"
        if described.is_file():
            before = json.loads(described.read_text(encoding="utf-8"))["data"]["fingerprint"]
            if before != source.fingerprint:
                why = f"the images of {sweep.data} have changed since"
                raise UserError(f"{folder} holds another comparison", why, "Choose another --output")
        return
    old, new = ({**settings, **settings["recipe"]} for settings in (earlier, now))
    different = [f"{name} {old.get(name)}, now {new[name]}" for name in new if old.get(name) != new[name]]
    different = [text for text in different if not text.startswith("recipe ")]
    raise UserError(
        f"{folder} holds another comparison",
        f"it was made with {'; '.join(different)}",
        "Choose another --output, or the same settings to go on",
    )


def _keep_circumstances(folder: Path) -> None:
    """Leave with trainings that have no circumstances of their own those of the sweep that made them."""
    described = folder / "environment.json"
    if described.is_file():
        for record in finished_runs(folder):
            own = _run_folder(folder, record.network, record.seed) / "environment.json"
            if not own.is_file():
                write_text(own, described.read_text(encoding="utf-8"))


def _run_folder(folder: Path, network: str, seed: int) -> Path:
    return folder / "networks" / network.replace("/", "_") / f"seed-{seed}"


def _latencies(folders: dict[str, Path], data: PreparedData, observer: Observer) -> dict[str, Latency]:
    image = torch.from_numpy(data.preprocessing.normalise(data.preprocessing.pixels(data.held_out.split.read(0))))
    models = {name: create_network(str(folder)).eval() for name, folder in folders.items()}
    calls = {name: partial(_infer, model, image[None]) for name, model in models.items()}
    return measure_latency(calls, rounds=LATENCY_ROUNDS, on_round=observer.measuring_latency)


def _infer(model: nn.Module, image: torch.Tensor) -> float:
    """Run the network and read the answer, so that nothing is left undone when the clock stops."""
    return float(model(image).max())
