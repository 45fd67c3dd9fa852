"""ResNets with three exits, whose heads are those of SD-ResNet and of SCAN: what EMGNet is compared with.

Sources: Zhang et al. (2019), "Be your own teacher: improve the performance of convolutional neural networks via self
distillation"; Zhang et al. (2019), "SCAN: a scalable neural networks framework towards compact and efficient models".
The blocks are timm's. The exits are EMGNet's (after the last three stages), so that exits can be compared one by one.
"""

from __future__ import annotations

from typing import Any

from timm.layers import ConvNormAct
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.resnet import BasicBlock, Bottleneck, downsample_conv
from torch import nn

from leannet.models.emgnet import CLASSIFIERS, EMGNET50, Stage, imagenet_stem
from leannet.models.parts.facts import facts
from leannet.models.parts.multi_exit import MultiExitNetwork
from leannet.models.small_input import make_small_input

__all__ = ["MultiExitResNet"]

RESNET56_CIFAR = (Stage(c=16, n=9, s=1), Stage(c=32, n=9, s=2), Stage(c=64, n=9, s=2))
RESNET50 = EMGNET50


class MultiExitResNet(MultiExitNetwork):
    """ResNet with an exit after each of its last three stages.

    Args:
        table: The stages.
        bottleneck: Blocks of ResNet-50 instead of ResNet-56, and its stem.
        exit_head: "bottleneck" for SD-ResNet, "attention" for SCAN; see `leannet.models.parts.exit_heads`.
        num_classes: Number of classes.
        in_chans: Number of input channels.
        drop_rate: Dropout before every classifier.
        global_pool: timm's name of the pooling before the last classifier.
        small_input: Total stride 8 instead of 32, for the network with ResNet-50's stem.

    Shape: ``(N, in_chans, H, W)`` -> ``(N, num_classes)``, the logits of the last exit.
    """

    def __init__(
        self,
        table: tuple[Stage, ...],
        bottleneck: bool,
        exit_head: str,
        num_classes: int = 1000,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        global_pool: str = "avg",
        small_input: bool = False,
    ) -> None:
        width = 64 if bottleneck else table[0].c
        stem, reduction = (imagenet_stem(in_chans, width), 4) if bottleneck else (ConvNormAct(in_chans, width, 3), 1)
        block, factor = (Bottleneck, Bottleneck.expansion) if bottleneck else (BasicBlock, 1)
        stages, reductions = [], []
        for row in table:
            blocks = []
            for number in range(row.n):
                stride = row.s if number == 0 else 1
                changes = stride != 1 or width != row.c
                shortcut = downsample_conv(width, row.c, 1, stride=stride) if changes else None
                blocks.append(block(width, row.c // factor, stride=stride, downsample=shortcut))
                width = row.c
            stages.append(nn.Sequential(*blocks))
            reduction *= row.s
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
