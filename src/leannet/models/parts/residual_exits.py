"""ResNet's layouts with exits after the last three stages, whatever the blocks are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from timm.layers import ConvNormAct
from torch import nn

from leannet.models.parts.multi_exit import MultiExitNetwork
from leannet.models.small_input import make_small_input

__all__ = ["CLASSIFIERS", "MakeBlock", "ResidualExits", "Stage"]

CLASSIFIERS = ("head.fc", "exits.0.classifier.fc", "exits.1.classifier.fc")
"""The last linear layers, the last exit's first."""

MakeBlock = Callable[[int, int, int], nn.Module]
"""Input channels, output channels and stride -> a residual block."""


class Stage(NamedTuple):
    """Output channels c, repeats n and stride s of the first block."""

    c: int
    n: int
    s: int


class ResidualExits(MultiExitNetwork):
    """A stem, stages of residual blocks, and an exit after each of the last three.

    Args:
        table: The stages.
        make_block: Makes their blocks.
        bottleneck: The stem of ResNet-50 (stride 4, 64 channels) instead of that of ResNet-56 (stride 1).
        exit_head: See `leannet.models.parts.exit_heads`.
        num_classes: Number of classes.
        in_chans: Number of input channels.
        drop_rate: Dropout before every classifier.
        global_pool: timm's name of the pooling before the last classifier.
        small_input: Total stride 8 instead of 32, for the networks with ResNet-50's stem.

    Shape: ``(N, in_chans, H, W)`` -> ``(N, num_classes)``, the logits of the last exit.
    """

    def __init__(
        self,
        table: tuple[Stage, ...],
        make_block: MakeBlock,
        bottleneck: bool,
        exit_head: str,
        num_classes: int = 1000,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        global_pool: str = "avg",
        small_input: bool = False,
    ) -> None:
        width, reduction = (64, 4) if bottleneck else (table[0].c, 1)
        stem = _imagenet_stem(in_chans, width) if bottleneck else ConvNormAct(in_chans, width, 3)
        stages, reductions = [], []
        for row in table:
            blocks = [make_block(width, row.c, row.s)]
            blocks += [make_block(row.c, row.c, 1) for _ in range(row.n - 1)]
            stages.append(nn.Sequential(*blocks))
            width, reduction = row.c, reduction * row.s
            reductions.append(reduction)
        super().__init__(
            exit_stages=(len(table) - 3, len(table) - 2),
            exit_head=exit_head,
            stem=stem,
            stages=stages,
            neck=nn.Identity(),
            channels=[row.c for row in table],
            reductions=reductions,
            num_features=width,
            num_classes=num_classes,
            in_chans=in_chans,
            drop_rate=drop_rate,
            global_pool=global_pool,
        )
        if small_input:
            make_small_input(self)


def _imagenet_stem(in_chans: int, width: int) -> nn.Sequential:
    """ResNet's stem for large images: 7x7 convolution and max-pooling, both of stride 2."""
    return nn.Sequential(ConvNormAct(in_chans, width, 7, stride=2), nn.MaxPool2d(3, stride=2, padding=1))
