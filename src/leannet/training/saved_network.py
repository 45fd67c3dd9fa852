"""A network from its model folder, with everything that judging it needs, or a clear word about what is wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from leannet.models import create_network, first_line, model_title, read_model_config, unusable_config
from leannet.training.network import try_out
from leannet_runtime import Preprocessing, UserError
from leannet_runtime.files import file_sha256

__all__ = ["SavedNetwork", "load_saved_network", "run_name"]

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
        title: What people call it: of a network that was adapted or given exits, the name of its source.
    """

    folder: Path
    model: nn.Module
    architecture: str
    class_names: tuple[str, ...] | None
    num_classes: int
    preprocessing: Preprocessing
    weights_sha256: str
    title: str

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
    config = read_model_config(folder)
    if not isinstance(config.get("label_names"), (list, type(None))):
        raise unusable_config(folder, "label_names is no list")
    weights = folder / WEIGHTS
    sha256 = _check_weights(weights)
    try:
        preprocessing = Preprocessing.from_pretrained_cfg(config["pretrained_cfg"])
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise unusable_config(folder, f"pretrained_cfg is not timm's ({first_line(error)})") from error
    if img_size is not None:
        preprocessing = replace(preprocessing, img_size=img_size)
    model = create_network(str(folder))
    num_classes = _try_out(folder, model, preprocessing.img_size)
    names = config.get("label_names")
    if names is not None and len(names) != num_classes:
        raise unusable_config(folder, f"it names {len(names)} classes, and the network answers {num_classes}")
    return SavedNetwork(
        folder=folder,
        model=model,
        architecture=str(config["architecture"]),
        class_names=None if names is None else tuple(map(str, names)),
        num_classes=num_classes,
        preprocessing=preprocessing,
        weights_sha256=sha256,
        title=model_title(config),
    )


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
        raise UserError(f"cannot read {path}", first_line(error), "Copy or train it again") from error


def _try_out(folder: Path, model: nn.Module, img_size: int) -> int:
    """Send an image through and return the number of classes: better now than after reading all images."""
    answer = try_out(model, str(folder), img_size)
    if not isinstance(answer, torch.Tensor) or answer.ndim != 2 or answer.shape[1] < 2:
        shape = tuple(answer.shape) if isinstance(answer, torch.Tensor) else type(answer).__name__
        why = f"it answers an image with {shape}, not with the logits of at least two classes"
        raise UserError(f"{folder} is no classifier", why, "Give the folder of one")
    return int(answer.shape[1])


def run_name(model: Path) -> str:
    """Return what the results of a model folder are called: its run, or the network that a comparison trained."""
    folder = model.expanduser().resolve()
    is_part = folder.name in ("best", "last") or re.fullmatch(r"seed-\d+", folder.name)
    return (folder.parent if is_part else folder).name or "network"
