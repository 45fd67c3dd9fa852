"""What the papers invented, one file per paper, torch only."""

from leannet.blocks.channel_squeeze_excitation import ChannelSqueezeExcitation, stack_channels
from leannet.blocks.duplicate_max_pooling import (
    ChannelMaxPool,
    Duplicate,
    DuplicateBranches,
    DuplicatePlanes,
    PlaneMaxPool,
    fuse_duplicate,
    plane_order,
)
from leannet.blocks.efficient_multi_scale import (
    ChannelGate,
    EMGModule,
    MultiScaleConv2d,
    SurrogateStep,
    gate_regularisation,
)

__all__ = [
    "ChannelGate",
    "ChannelMaxPool",
    "ChannelSqueezeExcitation",
    "Duplicate",
    "DuplicateBranches",
    "DuplicatePlanes",
    "EMGModule",
    "MultiScaleConv2d",
    "PlaneMaxPool",
    "SurrogateStep",
    "fuse_duplicate",
    "gate_regularisation",
    "plane_order",
    "stack_channels",
]
