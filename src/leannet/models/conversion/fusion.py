"""Duplicate Max-pooling in the forms that run fastest; each answers like the network that was trained."""

from __future__ import annotations

import copy
from typing import Literal, get_args

import torch
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import Tensor, nn
from torchvision.ops.misc import SqueezeExcitation

from leannet.blocks import (
    ChannelMaxPool,
    Duplicate,
    DuplicateBranches,
    DuplicatePlanes,
    PlaneMaxPool,
    fuse_duplicate,
    plane_order,
)
from leannet.models.conversion.bottlenecks import Bottleneck, find_bottlenecks

__all__ = ["FusedForm", "fuse"]

FusedForm = Literal["planes", "grouped", "branches"]

# Of each kind of squeeze-and-excitation: first convolution, activation, second convolution, gate.
_EXCITATIONS: dict[type[nn.Module], tuple[str, str, str, str]] = {
    SqueezeExcite: ("conv_reduce", "act1", "conv_expand", "gate"),
    SqueezeExcitation: ("fc1", "activation", "fc2", "scale_activation"),
}


_ACROSS_CHANNELS = (nn.GroupNorm, nn.LayerNorm, nn.LocalResponseNorm)  # whether they hold weights or not


def fuse(model: nn.Module, form: FusedForm = "planes") -> int:
    """Bring the duplications of a network into a form for inference, in place.

    Which form is fast depends on the runtime (``benchmarks/latency.py``); `leannet export` takes one that is.

    Args:
        model: A network converted with ``expansion="duplicate"``.
        form: "planes" (the default) puts the copies behind each other instead of beside each other and reorders the
            weights between duplication and maximum. "branches" gives each copy a convolution of its own, so that
            nothing is copied or cut apart: the form for ExecuTorch, which has no fast operator for either. Blocks
            that keep a 1x1 projection, or whose layers in between are of an unknown kind, take the third form.
            "grouped" turns duplication and depthwise convolution into one grouped convolution: the copies are never
            written to memory, and names and order of the weights stay.

    Returns:
        How many blocks were fused.

    Raises:
        ValueError: There is no such form.
    """
    if form not in get_args(FusedForm):
        raise ValueError(f"form must be planes, grouped or branches, not {form}")
    count = 0
    for found in list(find_bottlenecks(model)):
        if not found.expansion:
            continue
        duplicate = found.block.get_submodule(found.expansion[0])
        projection = found.block.get_submodule(found.projection[0])
        if not isinstance(duplicate, Duplicate):
            continue
        if form == "grouped" or not isinstance(projection, ChannelMaxPool) or not _works_per_channel(found):
            path = found.convolution_path(found.depthwise[0])
            found.block.set_submodule(path, fuse_duplicate(duplicate, found.convolution(found.depthwise[0])))
            found.block.set_submodule(found.expansion[0], nn.Identity().train(found.block.training))
        elif form == "planes":
            _order_by_planes(found, duplicate.copies)
        else:
            _divide_into_branches(found, duplicate.copies)
        count += 1
    return count


def _works_per_channel(found: Bottleneck) -> bool:
    """Say whether all layers of the block are of kinds whose channels can be put into another order."""
    for module in found.block.modules():
        holds = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        if isinstance(module, _ACROSS_CHANNELS) or (holds and not isinstance(module, nn.Conv2d | nn.BatchNorm2d)):
            return False
    return not found.excitation or type(found.block.get_submodule(found.excitation)) in _EXCITATIONS


def _order_by_planes(found: Bottleneck, copies: int) -> None:
    """Reorder every layer between duplication and maximum, and put the two into the same order."""
    hidden = found.convolution(found.depthwise[0]).out_channels
    order = plane_order(hidden // copies, copies)
    for path in found.depthwise:
        for module in found.block.get_submodule(path).modules():
            if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
                _reorder(module, order, dim=0)
    if found.excitation:
        reduce, _, expand, _ = _excitation(found)
        _reorder(reduce, order, dim=1)
        _reorder(expand, order, dim=0)
    training = found.block.training
    found.block.set_submodule(found.expansion[0], DuplicatePlanes(copies).train(training))
    found.block.set_submodule(found.projection[0], PlaneMaxPool(copies).train(training))


def _excitation(found: Bottleneck) -> tuple[nn.Module, ...]:
    """Return the first convolution of squeeze-and-excitation, its activation, the second convolution and the gate."""
    excitation = found.block.get_submodule(found.excitation)
    return tuple(map(excitation.get_submodule, _EXCITATIONS[type(excitation)]))


def _divide_into_branches(found: Bottleneck, copies: int) -> None:
    """Put one module into the place of the expansion, and nothing into those of the layers that it does the work of."""
    block, squeeze, excitations = found.block, None, []
    layers = [block.get_submodule(path) for path in found.depthwise]
    branches = [nn.Sequential(*(_share(layer, first, copies) for layer in layers)) for first in range(copies)]
    if found.excitation:
        reduce, activation, expand, gate = _excitation(found)
        hidden = found.convolution(found.depthwise[0]).out_channels
        _reorder(reduce, plane_order(hidden // copies, copies), dim=1)
        squeeze = nn.Sequential(reduce, activation)
        excitations = [nn.Sequential(_share(expand, first, copies), gate) for first in range(copies)]
    gone = (*found.expansion, *found.depthwise, found.excitation, *found.projection)
    for path in filter(None, gone):
        block.set_submodule(path, nn.Identity().train(block.training))
    whole = DuplicateBranches(branches, squeeze, excitations)
    block.set_submodule(found.expansion[0], whole.train(block.training))


def _share(layer: nn.Module, first: int, copies: int) -> nn.Module:
    """Return what a layer does to one copy of each channel: to channels ``first``, ``first + copies``, and so on."""
    own = copy.deepcopy(layer)
    for module in own.modules():
        if isinstance(module, nn.Conv2d):
            if module.groups > 1:  # the depthwise one, else the last of squeeze-and-excitation
                module.groups //= copies
                module.in_channels //= copies
            module.out_channels //= copies
        elif isinstance(module, nn.BatchNorm2d):
            module.num_features //= copies
        else:
            continue
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            if tensor.ndim:  # all but the number of batches that a norm has seen
                tensor.data = tensor.data[first::copies].clone()
    return own


def _reorder(module: nn.Module, order: Tensor, dim: int) -> None:
    """Put all tensors of a layer that have this dimension into another order."""
    with torch.no_grad():
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            if tensor.ndim > dim:  # not the number of batches that a norm has seen, nor the bias of inputs
                tensor.copy_(tensor.index_select(dim, order.to(tensor.device)))
