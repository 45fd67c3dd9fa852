"""The parts of the CSE networks: one inverted residual whose projection and shortcut are chosen from outside."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from timm.layers import ConvNormAct
from torch import Tensor, nn

from leannet.blocks import ChannelSqueezeExcitation, stack_channels
from leannet_runtime import UserError

__all__ = ["AveragedCSE", "FixedSize", "InvertedResidual", "StackedCSE", "conv_norm"]


def conv_norm(in_channels: int, channels: int, *, stride: int = 1, bias: bool = True) -> ConvNormAct:
    """Make a 1x1 convolution with batch norm and no activation."""
    return ConvNormAct(in_channels, channels, 1, stride=stride, bias=bias, apply_act=False)


class InvertedResidual(nn.Module):
    """1x1 convolution -> depthwise 3x3 -> projection, plus a shortcut. ReLU6 after the first two.

    Args:
        in_channels: Input channels.
        hidden: Channels of the depthwise convolution.
        projection: From the hidden to the output channels, at the output resolution.
        stride: Of the depthwise convolution.
        shortcut: Added to the output; None for a block without a skip connection.
        expand: Whether the 1x1 convolution is there; without it ``hidden`` must be ``in_channels``.
        bias: Whether the convolutions have a bias beside their batch norm.
    """

    def __init__(
        self,
        in_channels: int,
        hidden: int,
        projection: nn.Module,
        stride: int,
        shortcut: nn.Module | None,
        expand: bool = True,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.expansion = ConvNormAct(in_channels, hidden, 1, bias=bias, act_layer=nn.ReLU6) if expand else nn.Identity()
        self.depthwise = ConvNormAct(hidden, hidden, 3, stride=stride, groups=hidden, bias=bias, act_layer=nn.ReLU6)
        self.projection = projection
        self.has_shortcut = shortcut is not None
        self.shortcut = shortcut or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """``(N, in_channels, H, W)`` -> ``(N, channels, H / stride, W / stride)``."""
        out = self.projection(self.depthwise(self.expansion(x)))
        return out + self.shortcut(x) if self.has_shortcut else out


class StackedCSE(nn.Module):
    """CSE as a projection, read by the counts: the gated map is stacked along the channels to ``channels``."""

    def __init__(self, height: int, width: int, channels: int, cap: int) -> None:
        super().__init__()
        self.channels = channels
        self.excitation = ChannelSqueezeExcitation(height, width, cap=cap)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, hidden, height, width)`` -> ``(N, channels, height, width)``."""
        return stack_channels(self.excitation(x), self.channels)


class AveragedCSE(nn.Module):
    """CSE as a projection, read by table 1: groups of gated channels are averaged to ``channels``."""

    def __init__(self, height: int, width: int, channels: int, cap: int) -> None:
        super().__init__()
        self.channels = channels
        self.excitation = ChannelSqueezeExcitation(height, width, cap=cap, bias=False, batch_norm=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, hidden, height, width)`` -> ``(N, channels, height, width)``."""
        positions = self.excitation(x).flatten(2).transpose(1, 2)  # (N, height * width, hidden)
        averaged = F.adaptive_avg_pool1d(positions, self.channels)
        return averaged.transpose(1, 2).unflatten(2, (x.shape[2], x.shape[3]))


class FixedSize(nn.Module):
    """Let images of one size through, and refuse others before anything is computed."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height = height
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        """Return the images as they are.

        Raises:
            UserError: They have another size.
        """
        check_size(x, self.height, self.width)
        return x


def check_size(x: Tensor, height: int, width: int) -> None:
    """Refuse images of another size (a function of its own, so that graph tracers can leave it alone)."""
    if x.shape[-2] != height or x.shape[-1] != width:
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            raise ValueError("the images have another size than the network")  # TorchScript knows no errors of ours
        else:
            refuse_size(x.shape[-2], x.shape[-1], height, width)


torch.fx.wrap("check_size")


def refuse_size(got_height: int, got_width: int, height: int, width: int) -> None:
    """Name both sizes and what to do."""
    raise UserError(
        f"the network takes images of {height} x {width} pixels, not {got_height} x {got_width}",
        "its gates have a weight for every position",
        f"Pass --img-size {height}, or make a network with img_size={got_height}",
    )
