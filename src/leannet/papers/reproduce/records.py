"""The records of trainings that a figure is drawn from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from leannet.measure import Interval
from leannet.papers.reproduce.drawings import Drawing
from leannet.training import Recipe
from leannet_runtime import UserError

__all__ = ["ENSEMBLE", "Exit", "Point", "TrainingRecord", "read_record", "read_records", "seeds_text"]

Exit = int | str | None
"""An exit from 1 on, `ENSEMBLE`, or None of a network without exits."""

ENSEMBLE = "ensemble"

ROUNDING = 1e-9  # points


@dataclass(frozen=True)
class Point:
    """What a network, or one of its exits, came to."""

    macs: float
    """Of an image: with gates, their mean on the test images; of an ensemble, those of the last exit."""

    top1: Interval
    """Percent of the test images."""


@dataclass(frozen=True)
class TrainingRecord:
    """What a run folder says of a training."""

    folder: Path
    network: str
    seed: int
    epochs: int
    images: int
    """In the training part."""

    test_images: int
    points: dict[Exit, Point]
    recipe: Recipe
    """With the size at which the images were used."""

    weights: str | None
    """The file of weights that it began with."""

    processes: int
    """That trained together, each with batches of its own."""

    fingerprint: str
    """Of the images in all parts."""

    environment: dict[str, Any]
    """Machine, versions and command, as the run wrote them."""

    @property
    def budget(self) -> str:
        """How long it was trained, in words."""
        return f"{self.epochs} epoch{'s' * (self.epochs != 1)} of {self.images:,} images"


def seeds_text(seeds: Sequence[int]) -> str:
    """Return seeds in words, such as "seeds 0, 1"."""
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


def read_records(
    folder: Path, drawing: Drawing, exits: dict[str, list[Exit]]
) -> tuple[list[TrainingRecord], list[str]]:
    """Read the run folders below a folder.

    Args:
        folder: Searched with everything in it.
        drawing: What the records are for.
        exits: Which exits each network of the figure has.

    Returns:
        The records, in the figure's order of networks and by seed; and what was left out, in words.

    Raises:
        UserError: There is no record, one is damaged, or two are of one network and seed.
    """
    records, notes = [], []
    for file in sorted(folder.rglob("args.yaml")):
        run = file.parent
        arguments = _read(file, yaml.safe_load)
        # Other verbs write an args.yaml too.
        if not isinstance(arguments, dict) or not {"model", "recipe", "seed"} <= arguments.keys():
            continue
        with _naming(file):
            network = _text(arguments["model"], "model")
        if network not in exits:
            notes.append(f"{run} is left out: {network} is not in the figure")
            continue
        if not (run / "results.json").is_file():
            notes.append(f"{run} is left out: its training is not finished")
            continue
        environment = _read(run / "environment.json", json.loads)
        with _naming(run / "environment.json"):
            classes = set(environment["data"]["classes"])
        if classes != drawing.class_names:
            notes.append(f"{run} is left out: it was not trained on {drawing.dataset_title}")
        else:
            records.append(_record(run, arguments, environment, exits[network]))
    if not records:
        raise _no_records(folder, drawing, notes)
    _check_one_each(records)
    order = list(exits)
    return sorted(records, key=lambda record: (order.index(record.network), record.seed)), notes


def read_record(run: Path, exits: list[Exit]) -> TrainingRecord:
    """Read the folder of one finished training.

    Args:
        run: The run folder.
        exits: Which exits its network has; ``[None]`` if it has none.

    Raises:
        UserError: It is damaged.
    """
    arguments = _read(run / "args.yaml", yaml.safe_load)
    return _record(run, arguments, _read(run / "environment.json", json.loads), exits)


def _record(run: Path, arguments: dict[str, Any], environment: dict[str, Any], exits: list[Exit]) -> TrainingRecord:
    results = _read(run / "results.json", json.loads)
    with _naming(run / "environment.json"):
        data = environment["data"]
        images, img_size = _count(data["images"]["train"]), _count(data["img_size"])
        fingerprint, processes = _text(data["fingerprint"], "fingerprint"), _count(environment["processes"])
        _check_machine(environment)
    with _naming(run / "args.yaml"):
        seed = _count(arguments["seed"], 0)
        weights = None if arguments.get("weights") is None else _text(arguments["weights"], "weights")
        recipe = Recipe(**_mapping(arguments["recipe"], "recipe")).override(img_size=img_size)
    with _naming(run / "results.json"):
        return TrainingRecord(
            folder=run,
            network=arguments["model"],
            seed=seed,
            epochs=_count(results["epochs"]),
            images=images,
            test_images=_count(results["test"]["total"]),
            points=_points(results, exits),
            recipe=recipe,
            weights=weights,
            processes=processes,
            fingerprint=fingerprint,
            environment=environment,
        )


def _check_machine(environment: dict[str, Any]) -> None:
    """Refuse what the page could not tell."""
    _mapping(environment.get("packages", {}), "packages")
    gpus = _mapping(environment.get("machine", {}), "machine").get("gpus") or []
    if not isinstance(gpus, list) or not all(isinstance(gpu, str) for gpu in gpus):
        raise TypeError("gpus is no list of names")


def _points(results: dict[str, Any], exits: list[Exit]) -> dict[Exit, Point]:
    test = results["test"]
    if exits == [None]:
        return {None: Point(_macs(results["macs"]), _interval(test["top1"]))}
    found = {
        int(name.removeprefix("exit")) if name != ENSEMBLE else name: test["exits"][name] for name in test["exits"]
    }
    if set(found) != set(exits):
        raise ValueError(f"it has the exits {', '.join(test['exits'])}, and the figure has {exits}")
    macs = results["exit_macs"].get("measured") or results["exit_macs"]["open"]
    return {
        exit: Point(_macs(macs[-1 if exit == ENSEMBLE else exit - 1]), _interval(found[exit]))  # type: ignore[operator]
        for exit in exits
    }


def _interval(content: dict[str, Any]) -> Interval:
    value, low, high = (float(content[name]) for name in ("value", "low", "high"))
    # Wilson's ends may miss a share of 0 or 1 by a rounding error.
    if not (0 <= low <= value + ROUNDING and value <= high + ROUNDING and high <= 100):
        raise ValueError(f"{low} - {value} - {high} is no interval in percent")
    return Interval(value, low, high, str(content.get("method", "")))


def _macs(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ValueError(f"{value} is no number of MACs")
    return float(value)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} is {value}, and not text")
    return value


def _mapping(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{name} is {value}, and not a mapping")
    return value


def _count(value: Any, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{value} is no count")
    return value


def _read(file: Path, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise _damaged(file, error.strerror or str(error)) from error
    except (ValueError, yaml.YAMLError) as error:
        raise _damaged(file, str(error).splitlines()[0]) from error


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    """Let what a file lacks, or has in another form, be told with its name."""
    try:
        yield
    except KeyError as error:
        raise _damaged(file, f"it has no {error.args[0]}") from error
    except UserError as error:  # of a recipe, which does not know its file
        raise _damaged(file, f"{error.what}: {error.why}") from error
    except (TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise _damaged(file, str(error).splitlines()[0]) from error


def _damaged(file: Path, why: str) -> UserError:
    return UserError(f"cannot use {file}", why, f"Train anew, or move {file.parent} elsewhere")


def _no_records(folder: Path, drawing: Drawing, notes: list[str]) -> UserError:
    why = "no such folder" if not folder.is_dir() else "; ".join(notes) or "no finished training lies below it"
    commands = "; ".join(drawing.training_command(network, folder) for network in drawing.recipes)
    return UserError(f"no records in {folder}", why, f"Name another by --records, or make them: {commands}")


def _check_one_each(records: list[TrainingRecord]) -> None:
    seen: dict[tuple[str, int], Path] = {}
    for record in records:
        other = seen.setdefault((record.network, record.seed), record.folder)
        if other != record.folder:
            what = f"two records of {record.network} with seed {record.seed}"
            raise UserError(what, f"{other} and {record.folder}", "Move one of them elsewhere")
