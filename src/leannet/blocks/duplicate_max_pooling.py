"""Duplicate Max-pooling (DMP): an inverted residual block without 1x1 convolutions.

Source: Kim and Kim, "A Light-weight Model Based on Duplicate Max-pooling for Image Classification", section 2.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = [
    "ChannelMaxPool",
    "Duplicate",
    "DuplicateBranches",
    "DuplicatePlanes",
    "PlaneMaxPool",
    "fuse_duplicate",
    "plane_order",
]


class Duplicate(nn.Module):
    """Expansion without weights: every channel is copied.

    The copies are interleaved: channel ``c`` becomes channels ``[c * copies, (c + 1) * copies)``, so that a
    depthwise convolution that follows is one grouped convolution (see `fuse_duplicate`).

    Args:
        copies: How many copies are made of each channel (the expansion ratio t).

    Shape: ``(N, C, H, W)`` -> ``(N, C * copies, H, W)``.
    Source: Duplicate Max-pooling, section 2 and figure 2.
    """

    def __init__(self, copies: int) -> None:
        super().__init__()
        self.copies = copies

    def forward(self, x: Tensor) -> Tensor:
        """Copy every channel ``copies`` times."""
        return x.repeat_interleave(self.copies, dim=1)

    def extra_repr(self) -> str:
        """Name the number of copies."""
        return f"copies={self.copies}"


class ChannelMaxPool(nn.Module):
    """Projection without weights: the maximum over the copies of each channel.

    The inverse of `Duplicate`: channels ``[c * copies, (c + 1) * copies)`` become channel ``c``.

    Args:
        copies: How many channels are reduced to one (the expansion ratio t).

    Shape: ``(N, C * copies, H, W)`` -> ``(N, C, H, W)``.
    Source: Duplicate Max-pooling, section 2 and figure 2.
    """

    def __init__(self, copies: int) -> None:
        super().__init__()
        self.copies = copies

    def forward(self, x: Tensor) -> Tensor:
        """Keep the largest copy of every channel, at every position."""
        return x.unflatten(1, (-1, self.copies)).amax(dim=2)

    def extra_repr(self) -> str:
        """Name the number of copies."""
        return f"copies={self.copies}"


class DuplicatePlanes(nn.Module):
    """`Duplicate` for inference, with the copies behind each other: all channels, then all channels again, ...

    Channel ``c`` becomes channels ``c``, ``C + c``, ``2C + c``, ...; the layers between have to follow (see
    `plane_order`). It is the faster order wherever channels lie next to each other in memory.

    Args:
        copies: How many copies are made of each channel.

    Shape: ``(N, C, H, W)`` -> ``(N, copies * C, H, W)``.
    """

    def __init__(self, copies: int) -> None:
        super().__init__()
        self.copies = copies
        # In the state dict on purpose: weights in this order must not load into a network with the other one.
        self.register_buffer("planes", torch.tensor(copies))

    def forward(self, x: Tensor) -> Tensor:
        """Put ``copies`` copies of the whole map behind each other."""
        return torch.cat([x] * self.copies, dim=1)


class PlaneMaxPool(nn.Module):
    """`ChannelMaxPool` for the order of `DuplicatePlanes`: pairs of whole maps are compared.

    Args:
        copies: How many channels are reduced to one.

    Shape: ``(N, copies * C, H, W)`` -> ``(N, C, H, W)``.
    """

    def __init__(self, copies: int) -> None:
        super().__init__()
        self.copies = copies

    def forward(self, x: Tensor) -> Tensor:
        """Keep the largest copy of every channel, at every position."""
        return _largest(list(x.chunk(self.copies, dim=1)))


class DuplicateBranches(nn.Module):
    """A whole block for inference, from duplication to maximum, with a branch for each copy.

    Nothing is copied and nothing is cut apart again: the branches read the same map, and their answers are compared.

    Args:
        branches: One for each copy: its depthwise convolution with norm and activation.
        squeeze: The first half of squeeze-and-excitation, ``(N, t * C, 1, 1)`` -> ``(N, S, 1, 1)``, the channels in
            the order of `DuplicatePlanes`; None for a block without.
        excitations: One for each copy: the second half, ``(N, S, 1, 1)`` -> ``(N, C, 1, 1)``; as many as branches, or
            none.

    Shape: ``(N, C, H, W)`` -> ``(N, C, H, W)``.
    """

    def __init__(
        self, branches: Sequence[nn.Module], squeeze: nn.Module | None = None, excitations: Sequence[nn.Module] = ()
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.squeeze = nn.Identity() if squeeze is None else squeeze
        self.excitations = nn.ModuleList(excitations)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the largest of the branches' answers, at every position."""
        maps = [branch(x) for branch in self.branches]
        if len(self.excitations) > 0:
            squeezed = self.squeeze(torch.cat([each.mean((2, 3), keepdim=True) for each in maps], dim=1))
            for index, excitation in enumerate(self.excitations):
                maps[index] = maps[index] * excitation(squeezed)
        return _largest(maps)


def _largest(maps: list[Tensor]) -> Tensor:
    """Return the maximum of maps of equal shape, compared in pairs."""
    while len(maps) > 1:
        pairs = [torch.maximum(maps[2 * i], maps[2 * i + 1]) for i in range(len(maps) // 2)]
        maps = pairs + maps[2 * len(pairs) :]
    return maps[0]


def plane_order(channels: int, copies: int) -> Tensor:
    """Return, for each channel in the order of `DuplicatePlanes`, its number in the order of `Duplicate`.

    Shape: ``(copies * channels,)``, int64.
    """
    return torch.arange(copies * channels).view(channels, copies).t().flatten()


def fuse_duplicate(duplicate: Duplicate, depthwise: nn.Conv2d) -> nn.Conv2d:
    """Turn duplication followed by a depthwise convolution into one grouped convolution.

    Group ``c`` of the result reads channel ``c`` once and writes its ``copies`` channels, so the copies are never
    written to memory. The weight tensors are shared with ``depthwise``, not copied.

    Args:
        duplicate: Makes ``t`` copies of ``C`` channels.
        depthwise: A depthwise convolution on the ``t * C`` channels.

    Returns:
        A convolution ``C -> t * C`` with ``C`` groups that answers like the two in turn.

    Raises:
        ValueError: The convolution is not depthwise, or its channels are not a multiple of the copies.
    """
    if depthwise.groups != depthwise.in_channels or depthwise.in_channels != depthwise.out_channels:
        raise ValueError(f"only a depthwise convolution can be fused with duplication, not {depthwise}")
    if depthwise.in_channels % duplicate.copies:
        raise ValueError(f"{depthwise.in_channels} channels are no multiple of {duplicate.copies} copies")
    channels = depthwise.in_channels // duplicate.copies
    # A copy of the same class keeps subclasses' ways of padding (timm's "same" convolutions).
    fused = copy.copy(depthwise)
    fused._parameters = dict(depthwise._parameters)
    fused.in_channels = channels
    fused.groups = channels
    return fused
