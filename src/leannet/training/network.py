"""The network that training begins with: fresh, published weights, a model folder or a file of weights."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from timm.models import load_state_dict
from torch import Tensor, nn

from leannet.measure import evaluation_mode
from leannet.models import (
    AttachedExits,
    attach_exits,
    create_network,
    first_line,
    has_exits,
    is_model_folder,
    read_model_config,
)
from leannet.training.recipe import Recipe
from leannet_runtime import UserError

__all__ = [
    "check_network",
    "classifier_names",
    "label_names",
    "learned_when_frozen",
    "load_weights",
    "make_network",
    "try_out",
]


def learned_when_frozen(network: nn.Module) -> tuple[str, ...]:
    """Return the names of what learns when everything else is frozen: the classifiers, or exits that were attached."""
    return network.trained_when_frozen if isinstance(network, AttachedExits) else classifier_names(network)


def classifier_names(network: nn.Module) -> tuple[str, ...]:
    """Return the names of the layers that give the logits, as timm notes them."""
    names = getattr(network, "pretrained_cfg", {}).get("classifier") or ()
    return (names,) if isinstance(names, str) else tuple(names)


def label_names(folder: str | Path) -> tuple[str, ...] | None:
    """Return the class names in a model folder, None if it has none.

    Raises:
        UserError: Its config.json cannot be read.
    """
    names = read_model_config(folder).get("label_names")
    return tuple(map(str, names)) if isinstance(names, list) else None


def make_network(
    name: str, class_names: tuple[str, ...], recipe: Recipe, weights: str | None = None
) -> tuple[nn.Module, tuple[str, ...]]:
    """Make a network as a settled recipe wants it, with a classifier for these classes.

    The classifier of a model folder stays only if it was made for the same classes, by name. Every other one is made
    anew, in PyTorch's way: timm draws that of EfficientNet's family from a range that suits 1000 classes; with ten, the
    first logits would be so large that training needs epochs to recover.

    Args:
        name: A timm name, "torchvision/NAME" or a model folder.
        class_names: Names of the classes, by label.
        recipe: Size, small-input form, dropout, and whether published weights are loaded.
        weights: A file of weights (safetensors, or a checkpoint of PyTorch) to begin with.

    Returns:
        The network, and notes on what was done with its classifier.

    Raises:
        UserError: The name is unknown, or the weights cannot be had or do not fit.
    """
    folder = is_model_folder(name)
    count = len(class_names)
    try:
        model = create_network(
            name,
            num_classes=count,
            img_size=recipe.img_size,
            small_input=recipe.small_input,
            pretrained=recipe.pretrained and not folder,
            drop_rate=recipe.drop or None,
        )
    except (OSError, RuntimeError, SafetensorError) as error:
        why = (str(error) or type(error).__name__).splitlines()[0]
        remedy = "Give a folder that training wrote" if folder else "Pass --weights FILE, or leave --pretrained away"
        raise UserError(f"cannot load the weights of {name}", why, remedy) from error
    notes = []
    known = label_names(name) if folder else None
    fresh = known != class_names  # a classifier that nobody has trained
    if fresh:
        if hasattr(model, "reset_classifier"):
            model.reset_classifier(count)  # type: ignore[operator]
        if folder or recipe.pretrained:
            notes.append(_replaced(len(known) if known else _published_classes(name, folder), count))
    if weights is not None:
        before = _classifier(model)
        notes += load_weights(model, weights)
        fresh = fresh and any(tensor.equal(before[name]) for name, tensor in _classifier(model).items())
    if recipe.exits is not None:
        model = _with_exits(model, recipe)
        notes.append(f"exits after {', '.join(model.stages)}")
    _check_exit_options(model, name, recipe)
    if fresh and isinstance(model, AttachedExits):
        model.trained_when_frozen = ("exits", *classifier_names(model))
    return model, tuple(notes)


def _classifier(model: nn.Module) -> dict[str, Tensor]:
    """Return copies of the weights that give the logits."""
    names = classifier_names(model)
    return {name: tensor.clone() for name, tensor in model.state_dict().items() if names and name.startswith(names)}


def _with_exits(model: nn.Module, recipe: Recipe) -> AttachedExits:
    """Attach the exits that a recipe names."""
    assert recipe.exits is not None
    if recipe.exit_head == "linear" and recipe.exit_loss != "sum" and recipe.exit_feature_weight:
        why = "it compares what the exits see, which linear heads leave at different sizes"
        remedy = "Choose another head or sum, or pass --exit-feature-weight 0"
        raise UserError(f"--exit-loss {recipe.exit_loss} with --exit-head linear", why, remedy)
    named = [stage.strip() for stage in recipe.exits.split(",") if stage.strip()]
    stages = None if named == ["auto"] else named
    return attach_exits(model, stages, recipe.exit_head, freeze=recipe.freeze, img_size=recipe.img_size)


def _check_exit_options(model: nn.Module, name: str, recipe: Recipe) -> None:
    """Refuse options that would have no effect. The recipe of EMGNet also trains networks without exits or gates."""
    if recipe.exits is None and recipe.exit_head != Recipe.exit_head:
        why = "heads are chosen where exits are attached"
        raise UserError(f"--exit-head {recipe.exit_head}", why, "Pass --exits too, or leave it away")
    if recipe.exit_loss != Recipe.exit_loss and not has_exits(model):
        raise UserError(f"--exit-loss {recipe.exit_loss}", f"{name} has no exits", "Pass --exits, or leave it away")


def check_network(model: nn.Module, name: str, num_classes: int, img_size: int) -> None:
    """Send an image through: the time to find that a network does not fit is before the first step.

    Args:
        model: The network.
        name: What errors call it.
        num_classes: How many logits it must give.
        img_size: Side of the image in pixels.

    Raises:
        UserError: It cannot take such images, or gives something else.
    """
    answer = try_out(model, name, img_size)
    if not isinstance(answer, Tensor) or answer.shape != (1, num_classes):
        what = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
        why = f"it answers {what}, not (1, {num_classes})"
        raise UserError(f"{name} is no classifier", why, "Choose another network")


def try_out(model: nn.Module, name: str, img_size: int) -> Any:
    """Send an empty image through and return the answer, whatever it is; arguments as for `check_network`.

    Raises:
        UserError: The network cannot take such images.
    """
    # Not inference mode: what a network keeps from this pass could not take part in training.
    with evaluation_mode(model), torch.no_grad():
        try:
            return model(torch.zeros(1, 3, img_size, img_size))
        except (RuntimeError, AssertionError, ValueError, MemoryError) as error:
            why = first_line(error)
            what = f"{name} cannot take images of {img_size} pixels"
            raise UserError(what, why, "Choose another --img-size") from error


def load_weights(model: nn.Module, file: str) -> list[str]:
    """Load a file of weights into a network, all but a classifier for other classes.

    Args:
        model: The network.
        file: ``.safetensors``, or a checkpoint of PyTorch, of which only tensors and plain values are read.

    Returns:
        Notes on what was left out.

    Raises:
        UserError: The file cannot be read, would run code, or belongs to another network.
    """
    found = _read_weights(file)
    own = model.state_dict()
    classifier = classifier_names(model)
    other = {name for name in own.keys() & found.keys() if own[name].shape != found[name].shape}
    heads = {name for name in other if name.startswith(classifier)} if classifier else set()
    # Counters that some formats leave out.
    missing = {name for name in own.keys() - found.keys() if not name.endswith("num_batches_tracked")}
    unexpected = found.keys() - own.keys()
    if classifier:
        missing = {name for name in missing if not name.startswith(classifier)}
    if other - heads or missing or unexpected:
        wrong = [
            *(f"{name} is {tuple(found[name].shape)}, not {tuple(own[name].shape)}" for name in sorted(other - heads)),
            *(f"{name} is missing" for name in sorted(missing)),
            *(f"{name} is not in the network" for name in sorted(unexpected)),
        ]
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise UserError(f"cannot use the weights {file}", f"of another network: {wrong[0]}{more}", "Give its own file")
    model.load_state_dict({name: tensor for name, tensor in found.items() if name not in heads}, strict=False)
    weight = next((name for name in heads if name.endswith("weight")), None)
    return [_replaced(len(found[weight]), len(own[weight]))] if weight else []


def _read_weights(file: str) -> dict[str, Tensor]:
    remedy = "Give a .safetensors file, or save the state_dict() alone with torch.save"
    try:
        found: dict[str, Any] = load_state_dict(file, weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"cannot read {file}", "no such file", "Check the path given to --weights") from error
    except Exception as error:  # readers raise many types on damaged files
        if isinstance(error.__cause__ or error, pickle.UnpicklingError):  # timm wraps it and advises to trust the file
            why = "it is not a file of weights, or holds objects that run code when they are loaded"
            raise UserError(f"cannot read {file}", why, remedy) from error
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"cannot read {file}", f"damaged, or no file of weights ({why})", remedy) from error
    return {name: tensor for name, tensor in found.items() if isinstance(tensor, Tensor)}


def _published_classes(name: str, folder: bool) -> int:
    """Return the number of classes of the weights that a network comes with."""
    if folder:
        return int(read_model_config(name).get("num_classes", 0))
    return 1000


def _replaced(old: int, new: int) -> str:
    return f"head {old} -> {new} replaced"
