"""What an exported network needs to run: numpy, pillow and onnxruntime, never torch."""

from leannet_runtime.errors import UserError
from leannet_runtime.version import __version__

__all__ = ["UserError", "__version__"]
