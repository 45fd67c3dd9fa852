"""Find the linear bottlenecks of a network: where each block keeps its 1x1 expansion and its 1x1 projection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from timm.models._efficientnet_blocks import DepthwiseSeparableConv, EdgeResidual, UniversalInvertedResidual
from timm.models._efficientnet_blocks import InvertedResidual as TimmInvertedResidual
from torch import nn
from torchvision.models import efficientnet, mnasnet, mobilenetv2, mobilenetv3
from torchvision.ops.misc import SqueezeExcitation

from leannet.blocks import ChannelMaxPool, Duplicate, DuplicateBranches, DuplicatePlanes, PlaneMaxPool

__all__ = ["CONVERTED", "Bottleneck", "find_bottlenecks"]

CONVERTED = "it has been converted before"

_REPLACEMENTS = Duplicate | DuplicatePlanes | ChannelMaxPool | PlaneMaxPool


@dataclass(frozen=True)
class Bottleneck:
    """An inverted residual block, and which of its layers are expansion, depthwise convolution and projection.

    ``expansion``, ``depthwise`` and ``projection`` are paths below the block: the convolution first, then its norm and
    activation; ``excitation`` is that of squeeze-and-excitation, between the last two, empty if there is none. A block
    that cannot be taken apart has no paths but a reason.
    """

    name: str
    block: nn.Module
    expansion: tuple[str, ...] = ()
    depthwise: tuple[str, ...] = ()
    excitation: str = ""
    projection: tuple[str, ...] = ()
    reason: str = ""

    @property
    def converted(self) -> bool:
        """Whether expansion or projection has been replaced already."""
        ends = (self.block.get_submodule(path) for path in (self.expansion[0], self.projection[0]))
        return any(isinstance(end, _REPLACEMENTS | nn.Identity) for end in ends)

    def convolution(self, path: str) -> nn.Conv2d:
        """Return the convolution at a path; torchvision wraps it together with its norm and activation."""
        return self.block.get_submodule(self.convolution_path(path))  # type: ignore[return-value]

    def convolution_path(self, path: str) -> str:
        """Return the path of the convolution itself."""
        return f"{path}.0" if isinstance(self.block.get_submodule(path), nn.Sequential) else path


def find_bottlenecks(model: nn.Module) -> Iterator[Bottleneck]:
    """Find every inverted residual block of timm's and torchvision's networks, in order.

    Blocks of the same family that are built otherwise (fused, depthwise separable, universal) are found too and carry
    a reason.
    """
    for name, module in model.named_modules():
        for kind, describe in _KINDS.items():
            if isinstance(module, kind):
                whole = any(isinstance(layer, DuplicateBranches) for layer in module.modules())
                yield Bottleneck(name, module, reason=CONVERTED) if whole else describe(name, module)
                break


def _timm(name: str, block: Any) -> Bottleneck:
    layers = (block.conv_pw, block.conv_dw, block.conv_pwl)
    if not all(isinstance(layer, nn.Conv2d | nn.Identity | _REPLACEMENTS) for layer in layers):
        return Bottleneck(name, block, reason="its convolutions are mixed or conditional")
    if block.conv_s2d is not None:
        return Bottleneck(name, block, reason="it starts with a space-to-depth convolution")
    excitation = "" if isinstance(block.se, nn.Identity) else "se"
    return Bottleneck(name, block, ("conv_pw", "bn1"), ("conv_dw", "bn2", "aa"), excitation, ("conv_pwl", "bn3"))


def _torchvision(sequence: str) -> Callable[[str, nn.Module], Bottleneck]:
    """Describe a block of torchvision whose layers are the children of one `nn.Sequential`."""

    def describe(name: str, block: nn.Module) -> Bottleneck:
        groups: list[list[str]] = []  # a convolution and what follows it before the next one
        excitation = ""
        for index, layer in block.get_submodule(sequence).named_children():
            if isinstance(layer, SqueezeExcitation):
                excitation = f"{sequence}.{index}"
                continue
            starts = isinstance(layer, nn.Conv2d | nn.Sequential | _REPLACEMENTS)
            if starts or not groups:
                groups.append([])
            groups[-1].append(f"{sequence}.{index}")
        if len(groups) == 2:
            return Bottleneck(name, block, reason="it has no expansion")
        expansion, depthwise, projection = map(tuple, groups)
        return Bottleneck(name, block, expansion, depthwise, excitation, projection)

    return describe


def _left_alone(reason: str) -> Callable[[str, nn.Module], Bottleneck]:
    return lambda name, block: Bottleneck(name, block, reason=reason)


_FUSED = _left_alone("its expansion is fused with the spatial convolution")

_KINDS: dict[type[nn.Module], Callable[[str, nn.Module], Bottleneck]] = {
    TimmInvertedResidual: _timm,
    EdgeResidual: _FUSED,
    DepthwiseSeparableConv: _left_alone("it has no expansion"),
    UniversalInvertedResidual: _left_alone("it is a universal inverted residual"),
    mobilenetv2.InvertedResidual: _torchvision("conv"),
    mobilenetv3.InvertedResidual: _torchvision("block"),
    efficientnet.MBConv: _torchvision("block"),
    efficientnet.FusedMBConv: _FUSED,
    mnasnet._InvertedResidual: _torchvision("layers"),
}
