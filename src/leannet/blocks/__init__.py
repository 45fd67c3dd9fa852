"""What the papers invented, one file per paper, torch only."""

from leannet.blocks.channel_squeeze_excitation import ChannelSqueezeExcitation, stack_channels
from leannet.blocks.duplicate_max_pooling import (
    ChannelMaxPool,
    Duplicate,
    DuplicatePlanes,
    PlaneMaxPool,
    fuse_duplicate,
    plane_order,
)

__all__ = [
    "ChannelMaxPool",
    "ChannelSqueezeExcitation",
    "Duplicate",
    "DuplicatePlanes",
    "PlaneMaxPool",
    "fuse_duplicate",
    "plane_order",
    "stack_channels",
]
