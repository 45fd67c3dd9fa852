"""Networks as tables of data, registered in timm."""

from leannet.models import (  # noqa: F401
    adapted,
    channel_squeeze_excitation,
    duplicate_max_pooling,
    mobilenetv2_bias,
    resnet_cifar,
    simplified_mobilenetv2,
)
from leannet.models.conversion import Conversion, fuse, replace_linear_bottlenecks
from leannet.models.create import (
    check_name,
    create_network,
    default_img_size,
    is_model_folder,
    known_networks,
    leannet_networks,
)
from leannet.models.small_input import SMALL_INPUT_BELOW, make_small_input

__all__ = [
    "SMALL_INPUT_BELOW",
    "Conversion",
    "check_name",
    "create_network",
    "default_img_size",
    "fuse",
    "is_model_folder",
    "known_networks",
    "leannet_networks",
    "make_small_input",
    "replace_linear_bottlenecks",
]
