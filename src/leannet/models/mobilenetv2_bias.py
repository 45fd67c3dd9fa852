"""The baseline of the CSE paper: MobileNetV2 with a bias in every convolution.

Source: Park and Kim, "Further Optimize MobileNetV2 with Channel-wise Squeeze and Excitation", tables 2 to 6; the rows
are table 2 of Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks".
"""

from __future__ import annotations

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model

from leannet.models.parts.facts import facts
from leannet.models.parts.table import Stage, TableNetwork

MOBILENETV2 = (
    Stage(t=1, c=16, n=1, s=1),
    Stage(t=6, c=24, n=2, s=2),
    Stage(t=6, c=32, n=3, s=2),
    Stage(t=6, c=64, n=4, s=2),
    Stage(t=6, c=96, n=3, s=1),
    Stage(t=6, c=160, n=3, s=2),
    Stage(t=6, c=320, n=1, s=1),
)

default_cfgs = generate_default_cfgs({"mobilenetv2_bias": facts(first_conv="conv_stem", classifier="classifier")})


@register_model
def mobilenetv2_bias(pretrained: bool = False, **kwargs: Any) -> TableNetwork:
    """MobileNetV2 with a bias in every convolution: 2,253,738 parameters for 10 classes."""
    return build_model_with_cfg(
        TableNetwork,
        "mobilenetv2_bias",
        pretrained,
        feature_cfg={"feature_cls": "getter"},
        table=MOBILENETV2,
        bias=True,
        **kwargs,
    )
