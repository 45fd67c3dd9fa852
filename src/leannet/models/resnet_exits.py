"""ResNets with three exits, whose heads are those of SD-ResNet and of SCAN: what EMGNet is compared with.

Sources: Zhang et al. (2019), "Be your own teacher: improve the performance of convolutional neural networks via self
distillation"; Zhang et al. (2019), "SCAN: a scalable neural networks framework towards compact and efficient models".
The blocks are timm's. The exits are EMGNet's (after the last three stages), so that exits can be compared one by one.
"""

from __future__ import annotations

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.resnet import BasicBlock, Bottleneck, downsample_conv
from torch import nn

from leannet.models.parts.facts import facts
from leannet.models.parts.residual_exits import CLASSIFIERS, ResidualExits, Stage

__all__ = ["MultiExitResNet"]

RESNET56_CIFAR = (Stage(c=16, n=9, s=1), Stage(c=32, n=9, s=2), Stage(c=64, n=9, s=2))
RESNET50 = (Stage(c=256, n=3, s=1), Stage(c=512, n=4, s=2), Stage(c=1024, n=6, s=2), Stage(c=2048, n=3, s=2))


class MultiExitResNet(ResidualExits):
    """ResNet with an exit after each of its last three stages.

    Args:
        table: The stages.
        bottleneck: Blocks of ResNet-50 instead of ResNet-56, and its stem.
        exit_head: "bottleneck" for SD-ResNet, "attention" for SCAN; see `leannet.models.parts.exit_heads`.
        **kwargs: Further arguments of `ResidualExits`.

    Shape: ``(N, in_chans, H, W)`` -> ``(N, num_classes)``, the logits of the last exit.
    """

    def __init__(self, table: tuple[Stage, ...], bottleneck: bool, exit_head: str, **kwargs: Any) -> None:
        super().__init__(table, _bottleneck if bottleneck else _basic_block, bottleneck, exit_head, **kwargs)


def _basic_block(in_channels: int, channels: int, stride: int) -> nn.Module:
    return BasicBlock(in_channels, channels, stride=stride, downsample=_shortcut(in_channels, channels, stride))


def _bottleneck(in_channels: int, channels: int, stride: int) -> nn.Module:
    width = channels // Bottleneck.expansion
    return Bottleneck(in_channels, width, stride=stride, downsample=_shortcut(in_channels, channels, stride))


def _shortcut(in_channels: int, channels: int, stride: int) -> nn.Module | None:
    changes = stride != 1 or in_channels != channels
    return downsample_conv(in_channels, channels, 1, stride=stride) if changes else None


default_cfgs = generate_default_cfgs(
    {
        **dict.fromkeys(
            ("sdresnet56_cifar", "scanresnet56_cifar"), facts(32, first_conv="stem.conv", classifier=CLASSIFIERS)
        ),
        **dict.fromkeys(("sdresnet50", "scanresnet50"), facts(first_conv="stem.0.conv", classifier=CLASSIFIERS)),
    }
)


def _create(name: str, table: tuple[Stage, ...], bottleneck: bool, pretrained: bool, **kwargs: Any) -> MultiExitResNet:
    feature_cfg = {"feature_cls": "getter", "out_indices": tuple(range(len(table)))}
    return build_model_with_cfg(
        MultiExitResNet, name, pretrained, feature_cfg=feature_cfg, table=table, bottleneck=bottleneck, **kwargs
    )


@register_model
def sdresnet56_cifar(pretrained: bool = False, **kwargs: Any) -> MultiExitResNet:
    """ResNet-56 with the exits of SD-ResNet, for 32 x 32 images."""
    return _create("sdresnet56_cifar", RESNET56_CIFAR, False, pretrained, **{"exit_head": "bottleneck", **kwargs})


@register_model
def sdresnet50(pretrained: bool = False, **kwargs: Any) -> MultiExitResNet:
    """ResNet-50 with the exits of SD-ResNet."""
    return _create("sdresnet50", RESNET50, True, pretrained, **{"exit_head": "bottleneck", **kwargs})


@register_model
def scanresnet56_cifar(pretrained: bool = False, **kwargs: Any) -> MultiExitResNet:
    """ResNet-56 with the exits of SCAN, for 32 x 32 images."""
    return _create("scanresnet56_cifar", RESNET56_CIFAR, False, pretrained, **{"exit_head": "attention", **kwargs})


@register_model
def scanresnet50(pretrained: bool = False, **kwargs: Any) -> MultiExitResNet:
    """ResNet-50 with the exits of SCAN."""
    return _create("scanresnet50", RESNET50, True, pretrained, **{"exit_head": "attention", **kwargs})
