"""What a model folder may ask for: it may come from a stranger, and a few bytes of JSON can declare any network."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torchvision
from safetensors import SafetensorError, safe_open
from timm.models import is_model, split_model_name_tag
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from leannet.models.parts.model_config import unusable_config
from leannet_runtime import UserError

__all__ = ["MOST_CLASSES", "WEIGHTS", "check_model_config", "no_larger_than_weights"]

WEIGHTS = "model.safetensors"

MOST_CLASSES = 2**20
LARGEST_IMAGE = 4096  # pixels a side, as in recipes: a larger image is sent through no network here
LARGEST_NUMBER = 2**16  # of any other argument of a network
DEEPEST = 16  # lists within lists

# A network may need more for a moment than it keeps: layers that are replaced, heads for other classes.
SPARE_PARAMETERS = 2**26
SPARE_FACTOR = 4
MOST_MODULES = 50_000

# Arguments of timm that name files or addresses: what a folder describes is in the folder.
FOREIGN = {
    "cache_dir",
    "checkpoint_path",
    "pretrained",
    "pretrained_cfg",
    "pretrained_cfg_overlay",
    "pretrained_custom_load",
    "pretrained_filter_fn",
}


def check_model_config(folder: str | Path, config: dict[str, Any]) -> None:
    """Refuse a description that names anything but a known network, or sizes that no network has.

    Args:
        folder: The model folder, for the message.
        config: Of `read_model_config`.

    Raises:
        UserError: The architecture is not registered in timm, an argument names a file, an address or another folder,
            or a number is beyond the limits.
    """
    arguments = config.get("model_args") or {}
    if not isinstance(arguments, dict):
        raise unusable_config(folder, "model_args is no object")
    if not _is_known(config["architecture"]):
        raise unusable_config(folder, f"there is no network {_short(config['architecture'])}")
    for numbers in (config, config.get("pretrained_cfg"), arguments):
        classes = numbers.get("num_classes") if isinstance(numbers, dict) else None
        if classes is not None and not _is_between(classes, 0, MOST_CLASSES):
            raise unusable_config(folder, f"num_classes {_short(classes)} is no number from 0 to {MOST_CLASSES:,}")
    described = config.get("pretrained_cfg")
    for place, size in (
        ("input_size", described.get("input_size") if isinstance(described, dict) else None),
        ("img_size", arguments.get("img_size")),
    ):
        if any(not _is_between(side, 1, LARGEST_IMAGE) for side in _numbers(size, folder)):
            raise unusable_config(folder, f"{place} {_short(size)} is beyond {LARGEST_IMAGE} pixels a side")
    for key, value in _items(arguments, folder):
        if key in FOREIGN:
            raise unusable_config(folder, f"model_args has {key}, which would read something else")
        if key == "source" and not _is_known(value):
            raise unusable_config(folder, f"there is no network {_short(value)}")
        limit = MOST_CLASSES if key == "num_classes" else LARGEST_NUMBER
        if isinstance(value, (int, float)) and not _is_between(abs(value), 0, limit):
            raise unusable_config(folder, f"model_args has {_short(value)} for {key}, beyond {limit:,}")


@contextlib.contextmanager
def no_larger_than_weights(folder: str | Path, num_classes: int | None = None) -> Iterator[None]:
    """Let no network be made that is much larger than the file of its weights.

    A layer is counted before its memory is filled, so that what is declared costs nothing.

    Args:
        folder: A model folder with ``model.safetensors``.
        num_classes: What the user asked for, so that a classifier that is too large is not said to be the folder's.

    Raises:
        UserError: The file cannot be read, or the network has many more parameters than it, or too many modules.
    """
    path = Path(folder) / WEIGHTS
    try:
        with safe_open(path, framework="pt") as file:
            saved = sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118 -- no dict
    except (OSError, SafetensorError) as error:
        why = (isinstance(error, OSError) and error.strerror) or str(error).split("\n")[0]
        raise UserError(f"cannot read {path}", why, "Copy or train it again") from error
    room = SPARE_FACTOR * saved + SPARE_PARAMETERS
    parameters = modules = 0

    def count_parameter(_: nn.Module, __: str, parameter: Tensor | None) -> None:
        nonlocal parameters
        parameters += 0 if parameter is None else parameter.numel()
        if parameters > room:
            if parameter is not None and num_classes in parameter.shape:
                why = f"it would be far larger than the {saved:,} numbers in {WEIGHTS}"
                raise UserError(f"cannot make {folder} with {num_classes:,} classes", why, "Pass fewer classes")
            raise unusable_config(folder, f"it describes a network far larger than the {saved:,} numbers in {WEIGHTS}")

    def count_module(_: nn.Module, __: str, ___: nn.Module | None) -> None:
        nonlocal modules
        modules += 1
        if modules > MOST_MODULES:
            raise unusable_config(folder, f"it describes a network of more than {MOST_MODULES:,} modules")

    hooks: list[Any] = [
        register_module_parameter_registration_hook(count_parameter),
        register_module_module_registration_hook(count_module),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _is_known(name: object) -> bool:
    """Say whether this is a name of timm's registry, or torchvision's with its prefix; never an address or a path."""
    if not isinstance(name, str):
        return False
    if name.startswith("torchvision/"):
        return name.removeprefix("torchvision/") in torchvision.models.list_models(module=torchvision.models)
    return not any(sign in name for sign in ":/\\") and is_model(split_model_name_tag(name)[0])


def _items(value: Any, folder: str | Path, key: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield each value within dictionaries and lists, with the nearest key."""
    if depth > DEEPEST:
        raise unusable_config(folder, f"model_args is more than {DEEPEST} deep")
    if isinstance(value, dict):
        for name, inside in value.items():
            yield from _items(inside, folder, str(name), depth + 1)
    elif isinstance(value, list):
        for inside in value:
            yield from _items(inside, folder, key, depth + 1)
    yield key, value


def _numbers(size: Any, folder: str | Path) -> list[float]:
    return [value for _, value in _items(size, folder) if isinstance(value, (int, float))]


def _is_between(value: Any, low: int, high: int) -> bool:
    """Say whether this is a number within the limits; "not a number" is not."""
    return isinstance(value, (int, float)) and low <= value <= high


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
