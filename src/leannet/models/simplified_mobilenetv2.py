"""Simplified MobileNetV2 (SM_V2): fewer stages, larger expansion, half the computation.

Source: Lee, Lee and Ho, "Efficient Convolutional Neural Network with low Complexity", tables 1 and 4.
"""

from __future__ import annotations

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model

from leannet.models.parts.facts import facts
from leannet.models.parts.table import Stage, TableNetwork

# Table 1. The last row expands to 1024 channels and does not reduce them again: no 1x1 head, ReLU6 before the pooling.
SM_V2 = (
    Stage(t=1, c=16, n=1, s=1),
    Stage(t=4, c=16, n=2, s=2),
    Stage(t=8, c=32, n=2, s=2),
    Stage(t=8, c=64, n=2, s=2),
    Stage(t=8, c=128, n=1, s=2),
    Stage(t=8, c=1024, n=1, s=1),
)
# Table 1: the first two inner stages doubled.
SM_V2_2_2 = (
    Stage(t=1, c=16, n=1, s=1),
    Stage(t=4, c=32, n=2, s=2),
    Stage(t=8, c=64, n=2, s=2),
    Stage(t=8, c=64, n=2, s=2),
    Stage(t=8, c=128, n=1, s=2),
    Stage(t=8, c=1024, n=1, s=1),
)
# Table 1, in brackets: the first two inner stages times 1.5.
SM_V2_2_1_5 = (
    Stage(t=1, c=16, n=1, s=1),
    Stage(t=4, c=24, n=2, s=2),
    Stage(t=8, c=48, n=2, s=2),
    Stage(t=8, c=64, n=2, s=2),
    Stage(t=8, c=128, n=1, s=2),
    Stage(t=8, c=1024, n=1, s=1),
)
# Table 4 and its text: the middle two inner stages doubled.
SM_V2_3_2 = (
    Stage(t=1, c=16, n=1, s=1),
    Stage(t=4, c=16, n=2, s=2),
    Stage(t=8, c=64, n=2, s=2),
    Stage(t=8, c=128, n=2, s=2),
    Stage(t=8, c=128, n=1, s=2),
    Stage(t=8, c=1024, n=1, s=1),
)
# Table 1: all four inner stages doubled, no skip connection anywhere ("bottleneck_1").
SM_V2_X2NR = (
    Stage(t=1, c=16, n=1, s=1),
    Stage(t=4, c=32, n=2, s=2),
    Stage(t=8, c=64, n=2, s=2),
    Stage(t=8, c=128, n=2, s=2),
    Stage(t=8, c=256, n=1, s=2),
    Stage(t=8, c=1024, n=1, s=1),
)


_FACTS = facts(first_conv="conv_stem", classifier="classifier")
default_cfgs = generate_default_cfgs(
    dict.fromkeys(("sm_v2", "sm_v2_2_2", "sm_v2_2_1_5", "sm_v2_3_2", "sm_v2_x2nr"), _FACTS)
)


def _create(name: str, table: tuple[Stage, ...], pretrained: bool, **kwargs: Any) -> TableNetwork:
    return build_model_with_cfg(
        TableNetwork, name, pretrained, feature_cfg={"feature_cls": "getter"}, table=table, num_features=0, **kwargs
    )


@register_model
def sm_v2(pretrained: bool = False, **kwargs: Any) -> TableNetwork:
    """SM_V2, table 1."""
    return _create("sm_v2", SM_V2, pretrained, **kwargs)


@register_model
def sm_v2_2_2(pretrained: bool = False, **kwargs: Any) -> TableNetwork:
    """SM_V2_2_2, table 1: the first two inner stages doubled."""
    return _create("sm_v2_2_2", SM_V2_2_2, pretrained, **kwargs)


@register_model
def sm_v2_2_1_5(pretrained: bool = False, **kwargs: Any) -> TableNetwork:
    """SM_V2_2_1.5, table 1: the first two inner stages times 1.5."""
    return _create("sm_v2_2_1_5", SM_V2_2_1_5, pretrained, **kwargs)


@register_model
def sm_v2_3_2(pretrained: bool = False, **kwargs: Any) -> TableNetwork:
    """SM_V2_3_2, table 4: the middle two inner stages doubled."""
    return _create("sm_v2_3_2", SM_V2_3_2, pretrained, **kwargs)


@register_model
def sm_v2_x2nr(pretrained: bool = False, **kwargs: Any) -> TableNetwork:
    """SM_V2_x2nr, table 1: the inner stages doubled, no skip connections."""
    return _create("sm_v2_x2nr", SM_V2_X2NR, pretrained, skip=False, **kwargs)
