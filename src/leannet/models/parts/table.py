"""MobileNetV2's building plan: a table of inverted residuals, handed to timm's builder."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from timm.models.efficientnet import EfficientNet
from torch import nn

from leannet.models.small_input import make_small_input

__all__ = ["Stage", "TableNetwork"]


class Stage(NamedTuple):
    """One row of a table: expansion t, output channels c, repeats n, stride s of the first block."""

    t: int
    c: int
    n: int
    s: int


class TableNetwork(EfficientNet):
    """A 3x3 stem of 32 channels, the rows of a table, a head; ReLU6 throughout.

    Args:
        table: The rows.
        skip: Whether blocks of equal input and output have a skip connection.
        bias: Whether every convolution has a bias beside its batch norm.
        num_features: Channels of the 1x1 convolution before the pooling; 0 puts a ReLU6 in its place.
        num_classes: Number of classes.
        small_input: Total stride 8 instead of 32, for images below 64 pixels (see `leannet.models.small_input`).
        **kwargs: Further arguments of timm's `EfficientNet` (in_chans, drop_rate, drop_path_rate, global_pool).

    Shape: ``(N, in_chans, H, W)`` -> ``(N, num_classes)``.
    """

    def __init__(
        self,
        table: tuple[Stage, ...],
        skip: bool = True,
        bias: bool = False,
        num_features: int = 1280,
        num_classes: int = 1000,
        small_input: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            block_args=[[_block(row, skip) for _ in range(row.n)] for row in table],
            num_classes=num_classes,
            num_features=num_features,
            stem_size=32,
            act_layer=nn.ReLU6,
            **kwargs,
        )
        if num_features == 0:
            self.bn2 = nn.ReLU6()  # not in place: its input is the last feature map
        if bias:
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    module.bias = nn.Parameter(torch.zeros(module.out_channels))
        if small_input:
            make_small_input(self)


def _block(row: Stage, skip: bool) -> dict[str, Any]:
    """Say one block of a row in the words of timm's builder; it takes the stride for the first block only."""
    block = {
        "dw_kernel_size": 3,
        "pw_kernel_size": 1,
        "out_chs": row.c,
        "stride": row.s,
        "act_layer": None,
        "noskip": not skip,
    }
    if row.t == 1:  # nothing to expand: depthwise convolution and projection
        return {"block_type": "ds", **block}
    return {"block_type": "ir", "exp_ratio": row.t, **block}
