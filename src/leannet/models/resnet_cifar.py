"""ResNets for 32 x 32 images: three stages of 16, 32 and 64 channels, 6n + 2 layers.

Source: He et al., "Deep Residual Learning for Image Recognition", section 4.2, with a 1x1 convolution where the
number of channels changes. The blocks are timm's.
"""

from __future__ import annotations

from typing import Any

from timm.layers import ConvNormAct
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.resnet import BasicBlock, downsample_conv
from torch import nn

from leannet.models.parts.facts import facts
from leannet.models.parts.staged import StagedNetwork

__all__ = ["ResNetCifar"]

WIDTHS = (16, 32, 64)


class ResNetCifar(StagedNetwork):
    """ResNet with three stages of ``(depth - 2) / 6`` basic blocks.

    Args:
        depth: Number of layers with weights: 20, 32, 44, 56, 110.
        num_classes: Number of classes.
        in_chans: Number of input channels.
        drop_rate: Dropout before the classifier.
        global_pool: timm's name of the pooling.
    """

    def __init__(
        self,
        depth: int,
        num_classes: int = 1000,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        global_pool: str = "avg",
    ) -> None:
        repeats, rest = divmod(depth - 2, 6)
        if rest or repeats < 1:
            raise ValueError(f"depth must be 6n + 2, not {depth}")
        stages = []
        in_channels = WIDTHS[0]
        for channels in WIDTHS:
            blocks = []
            for _ in range(repeats):
                changes = channels != in_channels
                stride = 2 if changes else 1
                shortcut = downsample_conv(in_channels, channels, 1, stride=stride) if changes else None
                blocks.append(BasicBlock(in_channels, channels, stride=stride, downsample=shortcut))
                in_channels = channels
            stages.append(nn.Sequential(*blocks))
        super().__init__(
            stem=ConvNormAct(in_chans, WIDTHS[0], 3),
            stages=stages,
            neck=nn.Identity(),
            channels=list(WIDTHS),
            reductions=[1, 2, 4],
            num_features=WIDTHS[-1],
            num_classes=num_classes,
            in_chans=in_chans,
            drop_rate=drop_rate,
            global_pool=global_pool,
        )


_FACTS = facts(32, first_conv="stem.conv", classifier="head.fc")
default_cfgs = generate_default_cfgs({f"resnet{depth}_cifar": _FACTS for depth in (20, 44, 56, 110)})


def _create(name: str, depth: int, pretrained: bool, **kwargs: Any) -> ResNetCifar:
    feature_cfg = {"feature_cls": "getter", "out_indices": (0, 1, 2)}
    return build_model_with_cfg(ResNetCifar, name, pretrained, feature_cfg=feature_cfg, depth=depth, **kwargs)


@register_model
def resnet20_cifar(pretrained: bool = False, **kwargs: Any) -> ResNetCifar:
    """ResNet-20 for 32 x 32 images."""
    return _create("resnet20_cifar", 20, pretrained, **kwargs)


@register_model
def resnet44_cifar(pretrained: bool = False, **kwargs: Any) -> ResNetCifar:
    """ResNet-44 for 32 x 32 images."""
    return _create("resnet44_cifar", 44, pretrained, **kwargs)


@register_model
def resnet56_cifar(pretrained: bool = False, **kwargs: Any) -> ResNetCifar:
    """ResNet-56 for 32 x 32 images."""
    return _create("resnet56_cifar", 56, pretrained, **kwargs)


@register_model
def resnet110_cifar(pretrained: bool = False, **kwargs: Any) -> ResNetCifar:
    """ResNet-110 for 32 x 32 images."""
    return _create("resnet110_cifar", 110, pretrained, **kwargs)
