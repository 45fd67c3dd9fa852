"""Light-weight image classifiers: importing leannet registers its networks in timm."""

from typing import TYPE_CHECKING, Any

from leannet.models import create_network, fuse, leannet_networks, replace_linear_bottlenecks
from leannet_runtime import UserError, __version__

if TYPE_CHECKING:
    from leannet.deploy.predictor import load

__all__ = [
    "UserError",
    "__version__",
    "create_network",
    "fuse",
    "leannet_networks",
    "load",
    "replace_linear_bottlenecks",
]


def __getattr__(name: str) -> Any:
    """Import `load` when it is asked for: it needs training's packages, and registering networks must not wait."""
    if name == "load":
        from leannet.deploy.predictor import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
