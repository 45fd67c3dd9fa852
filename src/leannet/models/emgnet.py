"""EMGNet: residual networks of EMG modules with three exits.

Source: Lee, Shin and Woo, "Efficient Multi-Scale Feature Generation Network". The layouts are ResNet-56's for CIFAR
and ResNet-50's for ImageNet, with every 3x3 convolution of the basic blocks, or every convolution of the bottlenecks,
an EMG module (decided, as the widths: with 40, 80 and 160 channels the multiply-accumulates are the printed ones).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.resnet import downsample_conv
from torch import Tensor, nn

from leannet.blocks import EMGModule
from leannet.models.parts.facts import facts
from leannet.models.parts.residual_exits import CLASSIFIERS, ResidualExits, Stage

__all__ = ["EMGNet"]

BOTTLENECK = 4  # ResNet's factor between the width inside a bottleneck and its output


EMGNET56_CIFAR = (Stage(c=40, n=9, s=1), Stage(c=80, n=9, s=2), Stage(c=160, n=9, s=2))
EMGNET50 = (Stage(c=256, n=3, s=1), Stage(c=512, n=4, s=2), Stage(c=1024, n=6, s=2), Stage(c=2048, n=3, s=2))


class EMGBlock(nn.Module):
    """A residual block whose convolutions are EMG modules: of a basic block two, of a bottleneck three.

    Its last batch norm begins with zeros (decided): the block first adds pointwise features only.

    Args:
        in_channels: Input channels.
        channels: Output channels.
        stride: Of the module in which ResNet has its 3x3 stride.
        bottleneck: Three modules, the first two a quarter as wide.

    Shape: ``(N, in_channels, H, W)`` -> ``(N, channels, H / stride, W / stride)``.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        if bottleneck:
            width = channels // BOTTLENECK
            modules = [EMGModule(in_channels, width), EMGModule(width, width, stride), EMGModule(width, channels)]
        else:
            modules = [EMGModule(in_channels, channels, stride), EMGModule(channels, channels)]
        # As Goyal et al. (2017) do in ResNet. Without it the stem's first gradient is 18 times ResNet-56's.
        nn.init.zeros_(modules[-1].multi_scale_norm.weight)
        self.emg = nn.Sequential(*_with_relu_between(modules))
        changes = stride != 1 or in_channels != channels
        self.shortcut = downsample_conv(in_channels, channels, 1, stride=stride) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Add the shortcut, then the activation."""
        return torch.relu(self.emg(x) + self.shortcut(x))


def _with_relu_between(modules: list[EMGModule]) -> list[nn.Module]:
    layers: list[nn.Module] = [modules[0]]
    for module in modules[1:]:
        layers += [nn.ReLU(inplace=True), module]
    return layers


class EMGNet(ResidualExits):
    """Stages of `EMGBlock`, with an exit after each of the last three.

    Args:
        table: The stages.
        bottleneck: Blocks of ResNet-50 instead of ResNet-56, and its stem.
        exit_head: See `leannet.models.parts.exit_heads`.
        **kwargs: Further arguments of `ResidualExits`.

    Shape: ``(N, in_chans, H, W)`` -> ``(N, num_classes)``, the logits of the last exit.
    """

    def __init__(self, table: tuple[Stage, ...], bottleneck: bool, exit_head: str = "simple", **kwargs: Any) -> None:
        super().__init__(table, partial(EMGBlock, bottleneck=bottleneck), bottleneck, exit_head, **kwargs)


default_cfgs = generate_default_cfgs(
    {
        "emgnet56_cifar": facts(32, first_conv="stem.conv", classifier=CLASSIFIERS),
        "emgnet50": facts(first_conv="stem.0.conv", classifier=CLASSIFIERS),
    }
)


def _create(name: str, table: tuple[Stage, ...], bottleneck: bool, pretrained: bool, **kwargs: Any) -> EMGNet:
    feature_cfg = {"feature_cls": "getter", "out_indices": tuple(range(len(table)))}
    return build_model_with_cfg(
        EMGNet, name, pretrained, feature_cfg=feature_cfg, table=table, bottleneck=bottleneck, **kwargs
    )


@register_model
def emgnet56_cifar(pretrained: bool = False, **kwargs: Any) -> EMGNet:
    """EMGNet in the layout of ResNet-56, for 32 x 32 images."""
    return _create("emgnet56_cifar", EMGNET56_CIFAR, False, pretrained, **kwargs)


@register_model
def emgnet50(pretrained: bool = False, **kwargs: Any) -> EMGNet:
    """EMGNet in the layout of ResNet-50."""
    return _create("emgnet50", EMGNET50, True, pretrained, **kwargs)
