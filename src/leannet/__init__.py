"""Light-weight image classifiers: importing leannet registers its networks in timm."""

from leannet.models import create_network, fuse, leannet_networks, replace_linear_bottlenecks
from leannet_runtime import UserError, __version__

__all__ = [
    "UserError",
    "__version__",
    "create_network",
    "fuse",
    "leannet_networks",
    "replace_linear_bottlenecks",
]
