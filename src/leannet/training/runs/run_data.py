"""The data of a run, opened again as it saw them, for whatever is done with the network afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from leannet.data import SPLIT_SEED, BadImages, Source, open_source, with_validation
from leannet.training.network import label_names
from leannet.training.recipe import LARGEST, parse_yaml
from leannet.training.runs.settings import ARGUMENTS, SPLIT_LISTS
from leannet_runtime import UserError

__all__ = ["is_run_data", "open_run_source", "recorded_data", "recorded_data_are_here"]


def recorded_data(folder: Path) -> str | None:
    """Return the data that the run of a model folder was made with, None if they are not written there."""
    return _named(_arguments(folder))


def recorded_data_are_here(folder: Path) -> bool:
    """Say whether the data that the run of a model folder was made with can be opened without fetching anything."""
    own = recorded_data(folder)
    return own is not None and _is_here(own)


def is_run_data(folder: Path, data: str | None) -> bool:
    """Say whether data are those of the run of a model folder, by whatever name; None means them."""
    own = recorded_data(folder)
    return data is None or (own is not None and _same(data, own))


def open_run_source(
    folder: Path,
    data: str | None = None,
    *,
    bad_images: BadImages = "error",
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    ignore_unknown_classes: bool = False,
) -> Source:
    """Open data for the network in a model folder; those of its own run fall into the same parts as there.

    A training without a validation part makes one out of the training part; it is made again, and consists of images
    that the network has not learned from. Of other data no part is made up.

    Args:
        folder: The model folder.
        data: See `leannet.data.open_source`; by default the data of the run, if they lie here. The folder may be a
            stranger's, so what it names is not fetched.
        bad_images: "skip" leaves damaged images out, "error" refuses.
        workers: Threads or processes that decode.
        progress: Called with the number of images decoded so far and the number of all.
        ignore_unknown_classes: Leave out images of classes that the network lacks, as the run may have done itself.

    Returns:
        The source; its classes are those of the network, if the folder names them.

    Raises:
        UserError: It is no model folder, nobody says what the data are, they are not here, or they do not fit the
            network.
    """
    class_names = label_names(folder)
    arguments = _arguments(folder)
    own = _named(arguments)
    if data is None and own is None:
        why = f"no run beside {folder} says on what the network was trained"
        raise UserError("no data given", why, "Pass --data")
    if data is None and own is not None and not _is_here(own):
        why = f"its run was trained on {own}, which is no file or folder here"
        raise UserError(f"cannot find the data of {folder}", why, "Name them with --data, for export with --check-data")
    spec = data or own or ""
    same = own is not None and _same(spec, own)
    source = open_source(
        spec,
        seed=SPLIT_SEED,
        bad_images=bad_images,
        workers=workers,
        progress=progress,
        class_names=class_names,
        ignore_unknown_classes=ignore_unknown_classes or (same and arguments.get("ignore_unknown_classes") is True),
    )
    fraction = arguments.get("val_fraction")  # a comparison has none, and makes no validation part
    if not same or not isinstance(fraction, int | float) or "train" not in source.splits:
        return source
    source = with_validation(source, fraction, SPLIT_SEED)
    learned = _learned(folder, source)
    if not learned:
        return source
    note = f"the images have changed since the run: the network has learned from {learned:,} of the validation part"
    return replace(source, notes=(*source.notes, note))


def _arguments(folder: Path) -> dict[str, Any]:
    """Return the settings of the run of a model folder; nothing where there are none."""
    path = _run_folder(folder) / ARGUMENTS
    try:
        with path.open(encoding="utf-8") as file:
            arguments = parse_yaml(file.read(LARGEST + 1), str(path))
    except (OSError, UnicodeDecodeError, UserError):
        return {}
    return arguments if isinstance(arguments, dict) else {}


def _named(arguments: dict[str, Any]) -> str | None:
    data = arguments.get("data")
    return data if isinstance(data, str) else None


def _is_here(data: str) -> bool:
    return data == "digits" or Path(data).expanduser().exists()


def _run_folder(folder: Path) -> Path:
    """Return where ``args.yaml`` lies: beside ``best/`` and ``last/``, or, of a comparison, beside ``networks/``."""
    above = [folder.expanduser().resolve(), *folder.expanduser().resolve().parents]
    return above[3] if len(above) > 3 and above[2].name == "networks" else above[1] if len(above) > 1 else above[0]


def _same(one: str, other: str) -> bool:
    """Say whether two names mean the same data."""
    return one == other or Path(one).expanduser().resolve() == Path(other).expanduser().resolve()


def _learned(folder: Path, source: Source) -> int:
    """Return how many images of the validation part the run lists as training images."""
    try:
        lists = json.loads((_run_folder(folder) / SPLIT_LISTS).read_text(encoding="utf-8"))
        trained = set(lists["train"])
    except (OSError, ValueError, TypeError, KeyError):
        return 0
    held_out = source.splits.get("validation")
    return len(trained.intersection(held_out.identifiers())) if held_out else 0
