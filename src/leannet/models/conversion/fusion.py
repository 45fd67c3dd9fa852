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


def fuse(model: nn.Module, form: FusedForm = "planes") -> int:
    """Bring the duplications of a network into a form for inference, in place.

    Which form is the fastest depends on the runtime (``benchmarks/latency.py``); `leannet export` takes the right one.

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
            found.block.set_submodule(found.expansion[0], nn.Identity())
        elif form == "planes":
            _order_by_planes(found, duplicate.copies)
        else:
            _divide_into_branches(found, duplicate.copies)
        count += 1
    return count


def _works_per_channel(found: Bottleneck) -> bool:
    """Say whether all layers of the block are of kinds whose channels can be put into another order."""
    known = (nn.Conv2d, nn.BatchNorm2d)
    if not all(isinstance(m, known) for m in found.block.modules() if list(m.parameters(recurse=False))):
        return False
    return not found.excitation or type(found.block.get_submodule(found.excitation)) in _EXCITATIONS


def _order_by_planes(found: Bottleneck, copies: int) -> None:
    """Reorder every layer between duplication and maximum, and put the two into the same order."""
    hidden = found.convolution(found.depthwise[0]).out_channels
    order = plane_order(hidden // copies, copies)
    for module in found.block.modules():
        if isinstance(module, nn.BatchNorm2d) and module.num_features == hidden:
            _reorder(module, ("weight", "bias", "running_mean", "running_var"), order, dim=0)
        elif isinstance(module, nn.Conv2d):
            if module.out_channels == hidden:  # depthwise, or the last layer of squeeze-and-excitation
                _reorder(module, ("weight", "bias"), order, dim=0)
            elif module.in_channels == hidden:  # the first layer of squeeze-and-excitation
                _reorder(module, ("weight",), order, dim=1)
    found.block.set_submodule(found.expansion[0], DuplicatePlanes(copies))
    found.block.set_submodule(found.projection[0], PlaneMaxPool(copies))


def _divide_into_branches(found: Bottleneck, copies: int) -> None:
    """Put one module into the place of the expansion, and nothing into those of the layers that it does the work of."""
    block, squeeze, excitations = found.block, None, []
    layers = [block.get_submodule(path) for path in found.depthwise]
    branches = [nn.Sequential(*(_share(layer, first, copies) for layer in layers)) for first in range(copies)]
    if found.excitation:
        excitation = block.get_submodule(found.excitation)
        reduce, activation, expand, gate = map(excitation.get_submodule, _EXCITATIONS[type(excitation)])
        hidden = found.convolution(found.depthwise[0]).out_channels
        _reorder(reduce, ("weight",), plane_order(hidden // copies, copies), dim=1)
        squeeze = nn.Sequential(reduce, activation)
        excitations = [nn.Sequential(_share(expand, first, copies), gate) for first in range(copies)]
    gone = (*found.expansion, *found.depthwise, found.excitation, *found.projection)
    for path in filter(None, gone):
        block.set_submodule(path, nn.Identity())
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


def _reorder(module: nn.Module, names: tuple[str, ...], order: Tensor, dim: int) -> None:
    with torch.no_grad():
        for name in names:
            tensor = getattr(module, name)
            if tensor is not None:
                tensor.copy_(tensor.index_select(dim, order.to(tensor.device)))
