"""MobileNetV2 made for a data set, with channel-wise squeeze and excitation (CSE) in place of 1x1 projections.

Source: Park and Kim, "Further Optimize MobileNetV2 with Channel-wise Squeeze and Excitation", tables 1 to 6.

The paper leaves open how the ``t * c_in`` channels of a CSE block become ``c_out`` without the 1x1 convolution.
Two readings are built. `ByCounts` (`mobilenetv2_cse`) gives six printed parameter counts exactly: one CSE block leads
each row, its hidden width is ``c_in`` and every convolution has a bias. `ByTable` (`mobilenetv2_cse_literal`) follows
the printed columns: hidden width ``t * c_in``, CSE in every block of the row, no biases.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from timm.layers import ConvNormAct
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import nn

from leannet.models.parts.cse import AveragedCSE, FixedSize, InvertedResidual, StackedCSE, conv_norm
from leannet.models.parts.facts import facts
from leannet.models.parts.staged import StagedNetwork
from leannet.models.small_input import SMALL_INPUT_BELOW
from leannet_runtime import UserError

__all__ = ["CSENetwork"]


class Row(NamedTuple):
    """One row of table 1: operator, expansion t, output channels c, repeats n, stride s of the first block."""

    operator: Literal["bottleneck", "cse", "optimised"]
    t: int
    c: int
    n: int
    s: int


# Table 1, made for 32 x 32 images.
MIX = (
    Row("bottleneck", t=1, c=16, n=1, s=1),
    Row("bottleneck", t=6, c=24, n=1, s=1),
    Row("bottleneck", t=6, c=32, n=2, s=1),
    Row("cse", t=2, c=64, n=4, s=2),
    Row("cse", t=2, c=96, n=3, s=2),
    Row("cse", t=2, c=160, n=3, s=1),
    Row("cse", t=2, c=320, n=1, s=2),
)
# "MobileNetV2 optimised": the same network with the 1x1 projection where the mix has CSE.
OPTIMISED = tuple(row._replace(operator="optimised") if row.operator == "cse" else row for row in MIX)
# Tables 5 and 6, "CSE block only": CSE in every row. No reading that was tried gives the printed counts.
CSE_ONLY = tuple(row._replace(operator="cse") for row in MIX)

# Strides of the first two rows for large images: Imagenette's printed count needs 56 x 56 before the third row of a
# 224 x 224 image. With 1 and 1, as in table 1, the network is in what is called its small-input form elsewhere.
LARGE_INPUT_STRIDES = (2, 2)

LAST_CHANNELS = 1280


def by_counts(row: Row, index: int, in_channels: int, stride: int, size: tuple[int, int], cap: int) -> nn.Module:
    """Make a block as the printed counts demand it: CSE leads a row, plain blocks without expansion follow."""
    first_of_network = row.t == 1 and row.operator == "bottleneck"
    expansion = row.t if row.operator == "bottleneck" else 1
    hidden = row.c if first_of_network else expansion * in_channels
    leads_with_cse = row.operator == "cse" and index == 0
    projection = StackedCSE(*size, row.c, cap) if leads_with_cse else conv_norm(hidden, row.c)
    shortcut: nn.Module | None
    if index > 0:
        shortcut = nn.Identity()
    else:
        shortcut = None if first_of_network else conv_norm(in_channels, row.c, stride=stride)
    return InvertedResidual(in_channels, hidden, projection, stride, shortcut)


def by_table(row: Row, index: int, in_channels: int, stride: int, size: tuple[int, int], cap: int) -> nn.Module:
    """Make a block as table 1 is printed: hidden width t * c_in, MobileNetV2's skip connections, no biases."""
    hidden = row.t * in_channels
    projection = AveragedCSE(*size, row.c, cap) if row.operator == "cse" else conv_norm(hidden, row.c, bias=False)
    shortcut = nn.Identity() if index > 0 else None
    return InvertedResidual(in_channels, hidden, projection, stride, shortcut, expand=row.t > 1, bias=False)


class CSENetwork(StagedNetwork):
    """Rows of bottlenecks and CSE blocks, a grouped 1x1 convolution to 1280 channels, pooling, classifier.

    Args:
        table: The rows.
        reading: "counts" (`by_counts`) or "table" (`by_table`).
        cap: Smallest hidden width of a gate.
        img_size: Side of the image, or height and width. A network with gates takes this size only.
        small_input: Rows 1 and 2 at stride 1, as in table 1; by default for images below 64 pixels.
        num_classes: Number of classes.
        in_chans: Number of input channels.
        drop_rate: Dropout before the classifier.
        global_pool: timm's name of the pooling.

    Shape: ``(N, in_chans, *img_size)`` -> ``(N, num_classes)``.

    Raises:
        UserError: A side of a network with gates is no multiple of its total stride (8 for small images, 32
            otherwise); in the forward pass, for an image of another size, before any convolution has run.
    """

    def __init__(
        self,
        table: tuple[Row, ...] = MIX,
        reading: Literal["counts", "table"] = "counts",
        cap: int = 16,
        img_size: int | tuple[int, int] = 32,
        small_input: bool | None = None,
        num_classes: int = 1000,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        global_pool: str = "avg",
    ) -> None:
        height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
        has_gates = any(row.operator == "cse" for row in table)
        stem = FixedSize(height, width) if has_gates else nn.Identity()
        if small_input is None:
            small_input = min(height, width) < SMALL_INPUT_BELOW
        _check_sides(height, width, 8 if small_input else 32, has_gates)
        make_block = by_counts if reading == "counts" else by_table
        stages: list[nn.Sequential] = []
        reductions: list[int] = []
        in_channels, reduction = in_chans, 1
        for number, row in enumerate(table):
            stride = row.s if small_input or number >= len(LARGE_INPUT_STRIDES) else LARGE_INPUT_STRIDES[number]
            height, width = -(-height // stride), -(-width // stride)
            blocks = []
            for i in range(row.n):
                blocks.append(make_block(row, i, in_channels, stride if i == 0 else 1, (height, width), cap))
                in_channels = row.c
            stages.append(nn.Sequential(*blocks))
            reduction *= stride
            reductions.append(reduction)
        bias = reading == "counts"
        super().__init__(
            stem=stem,
            stages=stages,
            neck=ConvNormAct(in_channels, LAST_CHANNELS, 1, groups=in_channels, bias=bias, act_layer=nn.ReLU6),
            channels=[row.c for row in table],
            reductions=reductions,
            num_features=LAST_CHANNELS,
            num_classes=num_classes,
            in_chans=in_chans,
            drop_rate=drop_rate,
            global_pool=global_pool,
        )


def _check_sides(height: int, width: int, total_stride: int, has_gates: bool) -> None:
    if has_gates and (height % total_stride or width % total_stride):
        below = max(height // total_stride, 1) * total_stride
        raise UserError(
            f"a CSE network cannot take images of {height} x {width} pixels",
            f"its gates need maps that are halved without a rest, so sides are multiples of {total_stride}",
            f"Choose --img-size {below} or {below + total_stride}",
        )


_OPEN = facts(224, first_conv="stages.0.0.expansion.conv", classifier="head.fc")
_TIED = facts(32, first_conv="stages.0.0.expansion.conv", classifier="head.fc", fixed_input_size=True)
default_cfgs = generate_default_cfgs(
    {
        "mobilenetv2_optimised": _OPEN,
        "mobilenetv2_cse": _TIED,
        "mobilenetv2_cse_literal": {**_TIED, "first_conv": "stages.0.0.depthwise.conv"},
        "mobilenetv2_cse_only": _TIED,
    }
)


def _create(name: str, pretrained: bool, **kwargs: Any) -> CSENetwork:
    model = build_model_with_cfg(
        CSENetwork, name, pretrained, feature_cfg={"feature_cls": "getter", "out_indices": None}, **kwargs
    )
    if "img_size" in kwargs and model.pretrained_cfg.get("fixed_input_size"):
        # What timm's tools read for the size of the input.
        height, width = kwargs["img_size"] if isinstance(kwargs["img_size"], tuple | list) else [kwargs["img_size"]] * 2
        model.pretrained_cfg["input_size"] = (kwargs.get("in_chans", 3), height, width)
    return model


@register_model
def mobilenetv2_optimised(pretrained: bool = False, **kwargs: Any) -> CSENetwork:
    """The paper's "MobileNetV2 optimised for the data set": the mix with ordinary 1x1 projections, any input size."""
    return _create("mobilenetv2_optimised", pretrained, table=OPTIMISED, **{"img_size": 224, **kwargs})


@register_model
def mobilenetv2_cse(pretrained: bool = False, **kwargs: Any) -> CSENetwork:
    """Mix of three bottleneck and four CSE rows, cap 16, read by the printed counts."""
    return _create("mobilenetv2_cse", pretrained, table=MIX, **kwargs)


@register_model
def mobilenetv2_cse_literal(pretrained: bool = False, **kwargs: Any) -> CSENetwork:
    """Mix of three bottleneck and four CSE rows, cap 16, read by the columns of table 1."""
    return _create("mobilenetv2_cse_literal", pretrained, table=MIX, reading="table", **kwargs)


@register_model
def mobilenetv2_cse_only(pretrained: bool = False, **kwargs: Any) -> CSENetwork:
    """CSE in every row, cap 8; its count is not the printed one."""
    return _create("mobilenetv2_cse_only", pretrained, table=CSE_ONLY, cap=8, **kwargs)
