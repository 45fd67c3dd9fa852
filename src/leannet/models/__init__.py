"""Networks as tables of data, registered in timm."""

from leannet.models import (  # noqa: F401
    adapted,
    attached_exits,
    channel_squeeze_excitation,
    duplicate_max_pooling,
    emgnet,
    mobilenetv2_bias,
    resnet_cifar,
    resnet_exits,
    simplified_mobilenetv2,
)
from leannet.models.attached_exits import AttachedExits, attach_exits
from leannet.models.conversion import Conversion, FusedForm, fuse, replace_linear_bottlenecks
from leannet.models.create import (
    check_name,
    create_network,
    default_img_size,
    is_model_folder,
    known_networks,
    leannet_networks,
    model_title,
)
from leannet.models.parts.exit_macs import ExitMacs, count_exit_macs
from leannet.models.parts.gate_meter import GateMeter
from leannet.models.parts.model_config import first_line, is_out_of_memory, read_model_config, unusable_config
from leannet.models.parts.multi_exit import AllExits, ExitLogits, MultiExit, has_exits
from leannet.models.small_input import SMALL_INPUT_BELOW, make_small_input

__all__ = [
    "SMALL_INPUT_BELOW",
    "AllExits",
    "AttachedExits",
    "Conversion",
    "ExitLogits",
    "ExitMacs",
    "FusedForm",
    "GateMeter",
    "MultiExit",
    "attach_exits",
    "check_name",
    "count_exit_macs",
    "create_network",
    "default_img_size",
    "first_line",
    "fuse",
    "has_exits",
    "is_model_folder",
    "is_out_of_memory",
    "known_networks",
    "leannet_networks",
    "make_small_input",
    "model_title",
    "read_model_config",
    "replace_linear_bottlenecks",
    "unusable_config",
]
