"""EfficientNet-B0 with Duplicate Max-pooling, and its two ablations.

Source: Kim and Kim, "A Light-weight Model Based on Duplicate Max-pooling for Image Classification", table 1.
"""

from __future__ import annotations

from typing import Any

from timm.models import generate_default_cfgs, get_pretrained_cfg, register_model
from torch import nn

from leannet.models.adapted import build_adapted

__all__: list[str] = []

_FACTS = get_pretrained_cfg("efficientnet_b0").to_dict(remove_source=True)
default_cfgs = generate_default_cfgs(
    dict.fromkeys(("efficientnet_b0_maxpool", "efficientnet_b0_duplicate", "efficientnet_b0_dmp"), _FACTS)
)


@register_model
def efficientnet_b0_maxpool(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """The paper's "Max-pooling only": 1x1 expansion, projection by the channel maximum."""
    return build_adapted(
        "efficientnet_b0_maxpool", "efficientnet_b0", pretrained=pretrained, projection="max", **kwargs
    )


@register_model
def efficientnet_b0_duplicate(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """The paper's "Duplicate only": expansion by duplication, 1x1 projection."""
    return build_adapted(
        "efficientnet_b0_duplicate", "efficientnet_b0", pretrained=pretrained, expansion="duplicate", **kwargs
    )


@register_model
def efficientnet_b0_dmp(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """The paper's "Duplicate Max-pooling": expansion by duplication, projection by the channel maximum."""
    return build_adapted(
        "efficientnet_b0_dmp",
        "efficientnet_b0",
        pretrained=pretrained,
        expansion="duplicate",
        projection="max",
        **kwargs,
    )
