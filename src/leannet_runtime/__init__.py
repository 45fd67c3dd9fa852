"""What an exported network needs to run: numpy, pillow and onnxruntime, never torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from leannet_runtime.errors import UserError
from leannet_runtime.version import __version__

if TYPE_CHECKING:
    from leannet_runtime.answers import Answer, Prediction
    from leannet_runtime.images import DamagedImage, decode_image
    from leannet_runtime.model_file import ModelFile
    from leannet_runtime.predictor import Predictor, load
    from leannet_runtime.preprocessing import Preprocessing

__all__ = [
    "Answer",
    "DamagedImage",
    "ModelFile",
    "Prediction",
    "Predictor",
    "Preprocessing",
    "UserError",
    "__version__",
    "decode_image",
    "load",
]

_LAZY = {
    "Answer": "answers",
    "DamagedImage": "images",
    "ModelFile": "model_file",
    "Prediction": "answers",
    "Predictor": "predictor",
    "Preprocessing": "preprocessing",
    "decode_image": "images",
    "load": "predictor",
}


def __getattr__(name: str) -> Any:
    """Import what needs numpy and pillow when it is asked for: ``leannet --help`` must not wait for them."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
