"""A network from its model folder, with everything that judging it needs, or a clear word about what is wrong."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from leannet.models import create_network
from leannet.training import try_out
from leannet_runtime import Preprocessing, UserError
from leannet_runtime.files import file_sha256

__all__ = ["SavedNetwork", "load_saved_network"]

WEIGHTS = "model.safetensors"


@dataclass(frozen=True, eq=False)
class SavedNetwork:
    """A network with what its model folder says about it.

    Args:
        folder: The model folder.
        model: With its weights, on the CPU.
        architecture: Name of the network.
        class_names: By label; None if the folder does not name them.
        num_classes: Number of classes.
        preprocessing: How images become its input.
        weights_sha256: Of the file of weights, in hexadecimal digits.
    """

    folder: Path
    model: nn.Module
    architecture: str
    class_names: tuple[str, ...] | None
    num_classes: int
    preprocessing: Preprocessing
    weights_sha256: str

    def describe(self) -> dict[str, Any]:
        """Return what identifies the network, for JSON."""
        return {
            "folder": str(self.folder),
            "architecture": self.architecture,
            "weights_sha256": self.weights_sha256,
            "preprocessing": self.preprocessing.to_pretrained_cfg(),
        }


def load_saved_network(folder: Path, img_size: int | None = None) -> SavedNetwork:
    """Load a network from a folder that training wrote (or timm, or the Hub).

    Args:
        folder: With ``config.json`` and ``model.safetensors``.
        img_size: Side of the images in pixels; by default what the folder says.

    Raises:
        UserError: It is no model folder, a file in it is damaged, the files do not belong together, or the network
            cannot take images of this size.
    """
    config = _read_config(folder)
    weights = folder / WEIGHTS
    sha256 = _check_weights(weights)
    try:
        preprocessing = Preprocessing.from_pretrained_cfg(config["pretrained_cfg"])
    except (KeyError, TypeError, ValueError) as error:
        raise _unusable_config(folder, f"pretrained_cfg is not timm's ({_reason(error)})") from error
    if img_size is not None:
        preprocessing = replace(preprocessing, img_size=img_size)
    try:
        model = create_network(str(folder))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _unusable_config(folder, _reason(error)) from error
    except RuntimeError as error:
        if "state_dict" not in str(error):
            raise _unusable_config(folder, _reason(error)) from error
        why = "its weights are not those of the network in config.json"
        raise UserError(f"cannot use {weights}", why, "Copy both files from the same folder again") from error
    num_classes = _try_out(folder, model, preprocessing.img_size)
    names = config.get("label_names")
    if names is not None and len(names) != num_classes:
        raise _unusable_config(folder, f"it names {len(names)} classes, and the network answers {num_classes}")
    return SavedNetwork(
        folder=folder,
        model=model,
        architecture=str(config["architecture"]),
        class_names=None if names is None else tuple(map(str, names)),
        num_classes=num_classes,
        preprocessing=preprocessing,
        weights_sha256=sha256,
    )


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        why = "it has no config.json" if folder.is_dir() else "no such folder"
        inside = [name for name in ("best", "last") if (folder / name / "config.json").is_file()]
        remedy = f"Give {folder / inside[0]}" if inside else "Give a folder that training wrote"
        raise UserError(f"{folder} is no model folder", why, remedy)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}", _reason(error), "Give a folder that training wrote") from error
    if not isinstance(config, dict) or not isinstance(config.get("architecture"), str):
        raise _unusable_config(folder, "it names no architecture")
    if not isinstance(config.get("label_names"), (list, type(None))):
        raise _unusable_config(folder, "label_names is no list")
    return config


def _check_weights(path: Path) -> str:
    """Return the SHA-256 of a file of weights; one that is cut off is refused."""
    if not path.is_file():
        why = f"it has no {path.name}"
        raise UserError(f"cannot use {path.parent}", why, "Give a folder that training wrote")
    try:
        with safe_open(path, framework="pt"):
            pass
        return file_sha256(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot read {path}", _reason(error), "Copy or train it again") from error


def _try_out(folder: Path, model: nn.Module, img_size: int) -> int:
    """Send an image through and return the number of classes: better now than after reading all images."""
    answer = try_out(model, str(folder), img_size)
    if not isinstance(answer, torch.Tensor) or answer.ndim != 2 or answer.shape[1] < 2:
        shape = tuple(answer.shape) if isinstance(answer, torch.Tensor) else type(answer).__name__
        why = f"it answers an image with {shape}, not with the logits of at least two classes"
        raise UserError(f"{folder} is no classifier", why, "Give the folder of one")
    return int(answer.shape[1])


def _unusable_config(folder: Path, why: str) -> UserError:
    return UserError(f"cannot use {folder / 'config.json'}", why, "Give a folder that training wrote")


def _reason(error: BaseException) -> str:
    """Return the first line of what an error says."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text.strip().splitlines()[0] if text.strip() else type(error).__name__
