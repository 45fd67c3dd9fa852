"""Classifiers for feature maps in the middle of a network, by the name of the paper that has them."""

from __future__ import annotations

import torch.nn.functional as F
from timm.layers import ClassifierHead, ConvNormAct
from torch import Tensor, nn

from leannet_runtime import UserError

__all__ = ["EXIT_HEADS", "ExitHead", "make_exit_head"]

ATTENTION_WIDTH = 128  # SCAN's convolutions after the attention


class ExitHead(nn.Module):
    """Layers that bring a feature map to the shape of the last one, then pooling and a linear layer.

    Args:
        transform: The layers.
        width: Channels after them.
        num_classes: Number of classes; 0 leaves the pooled features.
        drop_rate: Dropout before the linear layer.

    Shape: ``(N, C, H, W)`` -> ``(N, num_classes)``.
    """

    def __init__(self, transform: nn.Module, width: int, num_classes: int, drop_rate: float = 0.0) -> None:
        super().__init__()
        self.transform = transform
        self.classifier = ClassifierHead(width, num_classes, pool_type="avg", drop_rate=drop_rate)

    def forward(self, x: Tensor) -> Tensor:
        """Transform, pool, classify."""
        logits: Tensor = self.classifier(self.transform(x))
        return logits


class _PadTo(nn.Module):
    """Add zeros on the right and below until both sides are multiples of a number."""

    def __init__(self, multiple: int) -> None:
        super().__init__()
        self.multiple = multiple

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        return F.pad(x, (0, -width % self.multiple, 0, -height % self.multiple))


class SpatialAttention(nn.Module):
    """Weigh every value of a feature map by a map of its own, computed at half the resolution.

    Convolution 3x3 of stride 2, batch norm, ReLU; transposed convolution 4x4 of stride 2, batch norm, sigmoid; times x.

    Args:
        channels: Channels of the feature map.

    Shape: ``(N, C, H, W)`` -> the same.
    Source: Zhang et al. (2019), "SCAN: a scalable neural networks framework towards compact and efficient models",
    section 3.2 (attention modules).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = ConvNormAct(channels, channels, 3, stride=2)
        self.expand = nn.ConvTranspose2d(channels, channels, 4, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply with the attention; of an odd side it has one position more, which is cut off."""
        attention = self.norm(self.expand(self.squeeze(x))).sigmoid()
        return x * attention[..., : x.shape[-2], : x.shape[-1]]


def _downsampled(channels: int, factor: int) -> list[nn.Module]:
    """A convolution whose side and stride are the factor, for maps of any size."""
    return [_PadTo(factor), ConvNormAct(channels, channels, factor, stride=factor, padding=0)]


def _linear(channels: int, factor: int, width: int) -> list[nn.Module]:  # noqa: ARG001  (one signature for all)
    return []


def _simple(channels: int, factor: int, width: int) -> list[nn.Module]:
    pool = nn.AvgPool2d(factor, ceil_mode=True, count_include_pad=False) if factor > 1 else nn.Identity()
    return [pool, ConvNormAct(channels, width, 1)]


def _bottleneck(channels: int, factor: int, width: int) -> list[nn.Module]:
    middle = max(width // 4, 1)
    return [ConvNormAct(channels, middle, 1), *_downsampled(middle, factor), ConvNormAct(middle, width, 1)]


def _attention(channels: int, factor: int, width: int) -> list[nn.Module]:
    first = ConvNormAct(channels, ATTENTION_WIDTH, 1)
    return [
        SpatialAttention(channels),
        first,
        *_downsampled(ATTENTION_WIDTH, factor),
        ConvNormAct(ATTENTION_WIDTH, width, 1),
    ]


EXIT_HEADS = {
    "simple": _simple,
    "linear": _linear,
    "bottleneck": _bottleneck,
    "attention": _attention,
}
"""What stands before the pooling of an early exit:

- simple: average pooling to the resolution of the last stage, 1x1 convolution to its width (decided: light, and the
  same for every network whose own paper has no head);
- linear: nothing;
- bottleneck: 1x1 convolution to a quarter of the last width, a convolution whose side and stride are the remaining
  down-sampling, 1x1 to the last width (SD-ResNet, Zhang et al. 2019, "Be your own teacher", section 3.1);
- attention: SCAN's attention module, 1x1 to 128, convolution as above, 1x1 to the last width.
"""


def make_exit_head(
    kind: str, channels: int, factor: int, width: int, num_classes: int, drop_rate: float = 0.0
) -> ExitHead:
    """Make the classifier of an early exit.

    Args:
        kind: A name in `EXIT_HEADS`.
        channels: Channels of the feature map that it reads.
        factor: How many positions of that map, along one side, become one of the last stage's map.
        width: Channels of the last stage's map.
        num_classes: Number of classes.
        drop_rate: Dropout before the linear layer.

    Raises:
        UserError: There is no such head.
    """
    if kind not in EXIT_HEADS:
        raise UserError(f"unknown exit head {kind}", f"there are {', '.join(EXIT_HEADS)}", "Name one of them")
    layers = EXIT_HEADS[kind](channels, factor, width)
    return ExitHead(nn.Sequential(*layers), width if layers else channels, num_classes, drop_rate)
