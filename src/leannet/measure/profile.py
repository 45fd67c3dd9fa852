"""What a network costs before it has seen any data."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from leannet.measure.evaluation_mode import evaluation_mode
from leannet.measure.macs import count_macs, count_parameters
from leannet.measure.memory import peak_activation_bytes

__all__ = ["LayerProfile", "NetworkProfile", "profile_network"]


@dataclass(frozen=True)
class LayerProfile:
    """One layer without children, in the order in which it runs."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    macs: int


@dataclass(frozen=True)
class NetworkProfile:
    """The cost of one image, batch size 1."""

    parameters: int
    """Trainable parameters."""

    macs: int
    """Multiply-accumulates (`leannet.measure.MACS_RULE`)."""

    activations: int
    """Elements in the outputs of convolutions and linear layers, as timm counts them."""

    peak_activation_bytes: int
    """Largest sum of tensors alive at once in an eager float32 forward pass, without weights."""

    weight_bytes: int
    """Size of parameters and buffers."""

    uncounted: tuple[str, ...]
    """Operators that the MACs do not know."""

    layers: tuple[LayerProfile, ...]


def profile_network(model: nn.Module, input_size: tuple[int, int, int]) -> NetworkProfile:
    """Measure parameters, MACs, activations and memory of a network.

    Args:
        model: Any network that takes images; it is left as it was.
        input_size: Channels, height and width of the image.

    Returns:
        The profile, with its layers.
    """
    images = torch.zeros(1, *input_size)
    macs = count_macs(model, images)
    layers, activations = _layers(model, images, macs.by_module)
    return NetworkProfile(
        parameters=count_parameters(model),
        macs=macs.total,
        activations=activations,
        peak_activation_bytes=peak_activation_bytes(model, images),
        weight_bytes=sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers())),
        uncounted=macs.uncounted,
        layers=tuple(layers),
    )


def _layers(model: nn.Module, images: Tensor, macs: dict[str, int]) -> tuple[list[LayerProfile], int]:
    """Return the layers in the order in which they run, and the number of activations."""
    layers: list[LayerProfile] = []
    activations = 0

    def note(name: str, module: nn.Module, output: object) -> None:
        nonlocal activations
        shape = tuple(output.shape) if isinstance(output, Tensor) else ()
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
            activations += torch.Size(shape).numel()
        layers.append(LayerProfile(name, type(module).__name__, shape, count_parameters(module), macs.get(name, 0)))

    hooks = []
    for name, module in model.named_modules():
        # A batch norm that carries its activation as a child is one layer to a reader, so it is not taken apart.
        has_own_weights = bool(list(module.parameters(recurse=False)))
        is_leaf = not list(module.children())
        if (is_leaf or has_own_weights) and not isinstance(module, nn.Identity):
            hooks.append(module.register_forward_hook(lambda m, _, out, name=name: note(name, m, out)))
    try:
        with evaluation_mode(model), torch.no_grad():
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return layers, activations
