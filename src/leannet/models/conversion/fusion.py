"""Duplicate Max-pooling in the forms that run fastest; each answers like the network that was trained."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from leannet.blocks import ChannelMaxPool, Duplicate, DuplicatePlanes, PlaneMaxPool, fuse_duplicate, plane_order
from leannet.models.conversion.bottlenecks import Bottleneck, find_bottlenecks

__all__ = ["FusedForm", "fuse"]

FusedForm = Literal["planes", "grouped"]


def fuse(model: nn.Module, form: FusedForm = "planes") -> int:
    """Bring the duplications of a network into a form for inference, in place.

    Args:
        model: A network converted with ``expansion="duplicate"``.
        form: "planes" (the default) puts the copies behind each other instead of beside each other and reorders the
            weights between duplication and maximum; blocks that keep a 1x1 projection, or have another norm than
            batch norm, take the other form. In ``benchmarks/latency.py`` it is the fastest form in OpenVINO and in
            eager PyTorch with channels last; in ONNX Runtime the network as trained is some percent faster. "grouped"
            turns duplication and depthwise convolution into one grouped convolution: the copies are never written to
            memory, and names and order of the weights stay.

    Returns:
        How many blocks were fused.

    Raises:
        ValueError: There is no such form.
    """
    if form not in ("planes", "grouped"):
        raise ValueError(f"form must be planes or grouped, not {form}")
    count = 0
    for found in list(find_bottlenecks(model)):
        if not found.expansion:
            continue
        duplicate = found.block.get_submodule(found.expansion[0])
        projection = found.block.get_submodule(found.projection[0])
        if not isinstance(duplicate, Duplicate):
            continue
        if form == "planes" and isinstance(projection, ChannelMaxPool) and _works_per_channel(found):
            _order_by_planes(found, duplicate.copies)
        else:
            path = found.convolution_path(found.depthwise)
            found.block.set_submodule(path, fuse_duplicate(duplicate, found.convolution(found.depthwise)))
            found.block.set_submodule(found.expansion[0], nn.Identity())
        count += 1
    return count


def _works_per_channel(found: Bottleneck) -> bool:
    """Say whether the order of the channels does not matter to any norm of the block."""
    known = (nn.Conv2d, nn.BatchNorm2d)
    return all(isinstance(m, known) for m in found.block.modules() if list(m.parameters(recurse=False)))


def _order_by_planes(found: Bottleneck, copies: int) -> None:
    """Reorder every layer between duplication and maximum, and put the two into the same order."""
    hidden = found.convolution(found.depthwise).out_channels
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


def _reorder(module: nn.Module, names: tuple[str, ...], order: Tensor, dim: int) -> None:
    with torch.no_grad():
        for name in names:
            tensor = getattr(module, name)
            if tensor is not None:
                tensor.copy_(tensor.index_select(dim, order.to(tensor.device)))
