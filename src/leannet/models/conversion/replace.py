"""Duplicate Max-pooling for networks that people already have.

Source: Duplicate Max-pooling, section 3 (only blocks with as many output as input channels are replaced) and
section 4 (the method applies to any network with linear bottlenecks).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from leannet.blocks import ChannelMaxPool, Duplicate
from leannet.measure import count_macs, count_parameters, evaluation_mode
from leannet.models.conversion.bottlenecks import CONVERTED, Bottleneck, find_bottlenecks

__all__ = [
    "BlockRecord",
    "Conversion",
    "Cost",
    "Expansion",
    "Projection",
    "convert_bottlenecks",
    "replace_linear_bottlenecks",
]

Expansion = Literal["conv", "duplicate"]
Projection = Literal["conv", "max"]


@dataclass(frozen=True)
class Cost:
    """Trainable parameters, and MACs of one image."""

    parameters: int
    macs: int


@dataclass(frozen=True)
class BlockRecord:
    """What became of one block."""

    name: str
    replaced: bool
    reason: str
    """Why it was left alone; empty if it was replaced."""

    in_channels: int = 0
    hidden_channels: int = 0
    out_channels: int = 0
    saved: Cost = Cost(0, 0)
    """What the layers that were taken out cost, by formula."""


@dataclass(frozen=True)
class Conversion:
    """Record of `replace_linear_bottlenecks`."""

    expansion: Expansion
    projection: Projection
    input_size: tuple[int, int, int]
    blocks: tuple[BlockRecord, ...]
    before: Cost
    predicted: Cost
    """`before` less what the formula says is saved."""

    counted: Cost
    """The converted network, counted."""

    @property
    def replaced(self) -> tuple[BlockRecord, ...]:
        """The blocks that were replaced."""
        return tuple(block for block in self.blocks if block.replaced)


def replace_linear_bottlenecks(
    model: nn.Module,
    expansion: Expansion = "duplicate",
    projection: Projection = "max",
    input_size: tuple[int, int, int] | None = None,
) -> Conversion:
    """Replace the 1x1 expansions and projections of a network in place; all other weights are kept.

    Works on the inverted residual blocks of timm (`mobilenetv2_*`, `mobilenetv3_*`, `mnasnet_*`, `efficientnet_*`,
    `efficientnet_lite*`, `efficientnetv2_*`, ...) and torchvision (`mobilenet_v2`, `mobilenet_v3_*`, `efficientnet_*`,
    `mnasnet*`). A block is replaced if it has as many output as input channels, stride 1, and a hidden width that is
    a whole multiple of them; any other block is left alone and the record says why.

    Args:
        model: The network; it is changed.
        expansion: "duplicate" puts `Duplicate` in place of the 1x1 expansion, its norm and its activation; "conv"
            keeps them.
        projection: "max" puts `ChannelMaxPool` in place of the 1x1 projection and its norm; "conv" keeps them.
        input_size: Channels, height and width for which MACs are counted; by default the network's own, or
            3 x 224 x 224.

    Returns:
        Which blocks were replaced, and the parameters and MACs before, predicted and counted.

    Raises:
        ValueError: Nothing is to be replaced (both are "conv").
    """
    size = input_size or _default_input_size(model)
    images = torch.zeros(1, *size)
    before = _cost(model, images)
    positions = _output_positions(model, images)
    blocks = convert_bottlenecks(model, expansion, projection, positions)
    predicted = Cost(
        before.parameters - sum(block.saved.parameters for block in blocks),
        before.macs - sum(block.saved.macs for block in blocks),
    )
    return Conversion(expansion, projection, size, blocks, before, predicted, _cost(model, images))


def convert_bottlenecks(
    model: nn.Module,
    expansion: Expansion = "duplicate",
    projection: Projection = "max",
    positions: dict[str, int] | None = None,
) -> tuple[BlockRecord, ...]:
    """Replace as `replace_linear_bottlenecks` does, without counting the network before and after.

    Args:
        model: The network; it is changed.
        expansion: As in `replace_linear_bottlenecks`.
        projection: As in `replace_linear_bottlenecks`.
        positions: Output positions (height times width) of each block, for the MACs that are saved; without them
            the MACs in the records are 0.

    Returns:
        A record for each inverted residual block.
    """
    if expansion == "conv" and projection == "conv":
        raise ValueError("nothing to replace: expansion and projection are both to stay convolutions")
    records = []
    for found in list(find_bottlenecks(model)):
        records.append(_convert(found, expansion, projection, (positions or {}).get(found.name, 0)))
    return tuple(records)


def _convert(found: Bottleneck, expansion: Expansion, projection: Projection, positions: int) -> BlockRecord:
    if found.reason:
        return BlockRecord(found.name, replaced=False, reason=found.reason)
    if found.converted:
        return BlockRecord(found.name, replaced=False, reason=CONVERTED)
    expand = found.convolution(found.expansion[0])
    depthwise = found.convolution(found.depthwise[0])
    project = found.convolution(found.projection[0])
    channels, hidden, out_channels = expand.in_channels, expand.out_channels, project.out_channels
    reason = _reason_against(channels, hidden, out_channels, depthwise)
    if reason:
        return BlockRecord(found.name, False, reason, channels, hidden, out_channels)
    copies = hidden // channels
    parameters = macs = 0
    # A 1x1 convolution between C and tC channels has C * tC weights, used once for every position.
    if expansion == "duplicate":
        parameters += channels * hidden + _beside_weights(found, found.expansion)
        macs += positions * channels * hidden
        _put(found, found.expansion, Duplicate(copies))
    if projection == "max":
        parameters += hidden * channels + _beside_weights(found, found.projection)
        macs += positions * hidden * channels
        _put(found, found.projection, ChannelMaxPool(copies))
    return BlockRecord(found.name, True, "", channels, hidden, out_channels, Cost(parameters, macs))


def _reason_against(channels: int, hidden: int, out_channels: int, depthwise: nn.Conv2d) -> str:
    if channels != out_channels:
        return f"it has {channels} input and {out_channels} output channels"
    if depthwise.stride != (1, 1):
        return f"its stride is {depthwise.stride[0]}"
    if depthwise.groups != hidden:
        return "its spatial convolution mixes channels"
    if hidden % channels:
        return f"its hidden width {hidden} is no multiple of its {channels} channels"
    if hidden == channels:
        return "it does not expand"
    return ""


def _beside_weights(found: Bottleneck, paths: tuple[str, ...]) -> int:
    """Count the parameters beside the weights of the convolution: its bias, scale and shift of the norm."""
    parameters = sum(count_parameters(found.block.get_submodule(path)) for path in paths)
    return parameters - found.convolution(paths[0]).weight.numel()


def _put(found: Bottleneck, paths: tuple[str, ...], replacement: nn.Module) -> None:
    replacement.train(found.block.training)
    for path, module in zip(paths, (replacement, *(nn.Identity() for _ in paths[1:])), strict=True):
        found.block.set_submodule(path, module)


def _default_input_size(model: nn.Module) -> tuple[int, int, int]:
    size = (getattr(model, "pretrained_cfg", None) or {}).get("input_size", (3, 224, 224))
    return getattr(model, "in_chans", size[0]), size[1], size[2]


def _cost(model: nn.Module, images: Tensor) -> Cost:
    return Cost(count_parameters(model), count_macs(model, images).total)


def _output_positions(model: nn.Module, images: Tensor) -> dict[str, int]:
    positions: dict[str, int] = {}

    def noting(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def note(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
            positions[name] = output.shape[-2] * output.shape[-1]

        return note

    hooks = [found.block.register_forward_hook(noting(found.name)) for found in find_bottlenecks(model)]
    with evaluation_mode(model), torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()
    return positions
