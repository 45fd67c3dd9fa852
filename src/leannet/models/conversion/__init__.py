"""Duplicate Max-pooling for networks that people already have."""

from leannet.models.conversion.fusion import FusedForm, fuse
from leannet.models.conversion.replace import (
    BlockRecord,
    Conversion,
    Cost,
    Expansion,
    Projection,
    convert_bottlenecks,
    replace_linear_bottlenecks,
)

__all__ = [
    "BlockRecord",
    "Conversion",
    "Cost",
    "Expansion",
    "FusedForm",
    "Projection",
    "convert_bottlenecks",
    "fuse",
    "replace_linear_bottlenecks",
]
