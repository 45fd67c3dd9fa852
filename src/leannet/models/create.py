"""Make a network from whatever names it: timm's name, torchvision's name, or a model folder."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import timm
import torchvision
from timm.models import PretrainedCfg, get_pretrained_cfg, is_model, model_entrypoint, split_model_name_tag
from torch import nn

from leannet.models.adapted import TORCHVISION
from leannet.models.parts.model_config import CONFIG, first_line, is_out_of_memory, read_model_config, unusable_config
from leannet.models.parts.model_limits import MOST_CLASSES, WEIGHTS, check_model_config, no_larger_than_weights
from leannet.models.small_input import SMALL_INPUT_BELOW
from leannet_runtime import UserError
from leannet_runtime.formats import format_of

__all__ = [
    "check_name",
    "create_network",
    "default_img_size",
    "is_model_folder",
    "known_networks",
    "leannet_networks",
    "model_title",
]


_FOR_MODEL_FOLDERS = ("adapted", "with_exits")
"""What timm's registry must know to rebuild a saved network, and nobody needs to name."""


def leannet_networks() -> list[str]:
    """List the names of leannet's own networks, sorted."""
    names = timm.list_models("*")
    return [name for name in names if _is_own(name) and name not in _FOR_MODEL_FOLDERS]


def known_networks() -> list[str]:
    """List every name that `create_network` takes: timm's with leannet's, then torchvision's with their prefix."""
    others = torchvision.models.list_models(module=torchvision.models)
    own = [name for name in timm.list_models() if name not in _FOR_MODEL_FOLDERS]
    return own + [TORCHVISION + name for name in others]


def model_title(config: Mapping[str, Any]) -> str:
    """Return what people call the network of a model folder; timm's registry has one name for all adapted ones.

    Args:
        config: The folder's ``config.json``, or those of its fields that timm rebuilds the network from.
    """
    name, arguments = str(config["architecture"]), config.get("model_args")
    if name not in _FOR_MODEL_FOLDERS or not isinstance(arguments, Mapping) or "source" not in arguments:
        return name
    source = model_title({"architecture": arguments["source"], "model_args": arguments.get("source_args")})
    return f"{source} with exits" if name == "with_exits" else f"{source}, adapted"


def _is_own(name: str) -> bool:
    return model_entrypoint(name).__module__.startswith("leannet.")


def _tagged(base: str) -> list[str]:
    return [name for name in timm.list_pretrained(f"{base}.*") if split_model_name_tag(name)[0] == base]


def _facts(name: str) -> PretrainedCfg:
    """Return timm's facts about a network; a tag that belongs to the source of an own network is passed over."""
    base, _ = split_model_name_tag(name)
    return get_pretrained_cfg(base if _is_own(base) else name) or PretrainedCfg()


def is_model_folder(name: str) -> bool:
    """Say whether this is a folder that training wrote (or timm, or the Hub)."""
    return (Path(name) / CONFIG).is_file()


def check_name(name: str) -> None:
    """Refuse a name that no network has.

    Args:
        name: A timm name (with or without a tag of weights), "torchvision/NAME", or a model folder.

    Raises:
        UserError: Nothing is called so; the nearest names stand in the message. Or it is a file.
    """
    if is_model_folder(name):
        return
    known = known_networks()
    exported = format_of(Path(name))  # asked before tags of weights, which such an ending looks like
    if name not in known and (exported or Path(name).is_file()):
        remedy = "Give the model folder that it was exported from" if exported else "Give a model folder"
        if exported == "onnx":
            remedy += "; `leannet predict` and `leannet serve` take such files"
        raise UserError(f"cannot take {name}", "it is a file, not a network", remedy)
    base, tag = split_model_name_tag(name)
    if is_model(base) and tag and not _is_own(base) and name not in _tagged(base):
        tags = ", ".join(_tagged(base)) or "none"
        raise UserError(f"unknown weights {name}", f"{base} has {tags}", "Name some of these, or leave the tag away")
    if name not in known and not is_model(base):
        # The prefix is no part of the likeness: it is the same in all of them.
        prefix = TORCHVISION if name.startswith(TORCHVISION) else ""
        candidates = [each.removeprefix(prefix) for each in known if each.startswith(prefix)]
        # Short names come first among equals: people mean the plain network more often than its variants.
        likest = difflib.get_close_matches(name.removeprefix(prefix), sorted(candidates, key=len), n=3, cutoff=0.5)
        near = [prefix + each for each in likest]
        meant = f"Did you mean {' or '.join(near)}? " if near else ""
        raise UserError(
            f"unknown network {name}",
            "neither timm, nor leannet, nor torchvision/ has it, and it is no model folder",
            f"{meant}`leannet models --all PATTERN` searches the names",
        )


def default_img_size(name: str) -> int:
    """Return the side, in pixels, of the image for which a network is meant."""
    check_name(name)
    if is_model_folder(name):
        config = read_model_config(name)
        check_model_config(name, config)
        try:
            return int(config["pretrained_cfg"]["input_size"][-1])
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise unusable_config(name, "its pretrained_cfg has no input_size") from error
    if name.startswith(TORCHVISION):
        return 299 if name == "torchvision/inception_v3" else 224
    return int(_facts(name).input_size[-1])


def create_network(
    name: str,
    *,
    num_classes: int | None = None,
    img_size: int | None = None,
    small_input: bool | None = None,
    pretrained: bool = False,
    **kwargs: Any,
) -> nn.Module:
    """Make a network for images of a size.

    Args:
        name: A timm name, "torchvision/NAME", or a model folder (whose weights are loaded).
        num_classes: Number of classes; by default the network's own (1000).
        img_size: Side of the images in pixels; by default the network's own.
        small_input: Use the small-input form (`leannet.models.small_input`). By default it is used when the images
            are smaller than 64 pixels and the network is made for larger ones.
        pretrained: Load published weights.
        **kwargs: Further arguments of the network (in_chans, drop_rate, ...).

    Returns:
        The network, with `pretrained_cfg`.

    Raises:
        UserError: Unknown name, no small-input form, or too many classes; of a model folder: it describes no known
            network, or one that is larger than its weights, or its files do not belong together.
    """
    check_name(name)
    if num_classes is not None:
        if num_classes > MOST_CLASSES:  # the same as for model folders: a network with more could not be read back
            why = f"a network has {MOST_CLASSES:,} at most"
            raise UserError(f"cannot make {name} with {num_classes:,} classes", why, "Pass fewer classes")
        kwargs["num_classes"] = num_classes
    if is_model_folder(name):
        default_img_size(name)
        if not (Path(name) / WEIGHTS).is_file():  # timm would take other files too, such as pickles
            raise UserError(f"cannot use {name}", f"it has no {WEIGHTS}", "Give a folder that training wrote")
        with _enough_memory(name, num_classes), _fitting_files(name), no_larger_than_weights(name, num_classes):
            return _from_folder(name, num_classes, kwargs)
    with _enough_memory(name, num_classes):
        return _create_by_name(name, img_size, small_input, pretrained, kwargs)


def _from_folder(folder: str, num_classes: int | None, kwargs: dict[str, Any]) -> nn.Module:
    """Load a network with its own classifier first: asked for another, timm passes over all weights that do not fit."""
    own = {name: value for name, value in kwargs.items() if name != "num_classes"}
    model = timm.create_model(f"local-dir:{folder}", pretrained=True, **own)
    if num_classes is None or num_classes == getattr(model, "num_classes", None):
        return model
    if not hasattr(model, "reset_classifier"):
        return timm.create_model(f"local-dir:{folder}", pretrained=True, **kwargs)
    model.reset_classifier(num_classes)
    return model


@contextlib.contextmanager
def _enough_memory(name: str, num_classes: int | None) -> Iterator[None]:
    """Say in one line that a network does not fit into memory."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        classes = "" if num_classes is None else f" with {num_classes:,} classes"
        fewer = "Choose a smaller network" if num_classes is None else "Pass fewer classes, or choose a smaller network"
        raise UserError(f"cannot make {name}{classes}", "there is not enough memory for it", fewer) from error


@contextlib.contextmanager
def _fitting_files(folder: str) -> Iterator[None]:
    """Say in one line what is wrong with a model folder; timm and PyTorch let errors of many types through."""
    try:
        yield
    except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise unusable_config(folder, first_line(error)) from error
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        if "state_dict" not in str(error):
            raise unusable_config(folder, first_line(error)) from error
        why = "its weights are not those of the network in config.json"
        remedy = "Copy both files from the same folder again"
        raise UserError(f"cannot use {Path(folder) / WEIGHTS}", why, remedy) from error


def _create_by_name(
    name: str, img_size: int | None, small_input: bool | None, pretrained: bool, kwargs: dict[str, Any]
) -> nn.Module:
    own_size = default_img_size(name)
    size = img_size or own_size
    if not name.startswith(TORCHVISION):
        takes_size = bool(_facts(name).fixed_input_size)
        if takes_size and size != own_size:
            kwargs["img_size"] = size
        elif own_size < SMALL_INPUT_BELOW:
            small_input = False  # it is made for such images, and has no other form
    if small_input is None:
        small_input = size < SMALL_INPUT_BELOW
    if name.startswith(TORCHVISION) or (small_input and not _is_own(split_model_name_tag(name)[0])):
        return timm.create_model("adapted", pretrained=pretrained, source=name, small_input=small_input, **kwargs)
    if small_input:
        kwargs["small_input"] = True
    return timm.create_model(name, pretrained=pretrained, **kwargs)
