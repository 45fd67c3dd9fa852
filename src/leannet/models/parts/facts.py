"""What timm keeps about a network besides its weights: input size, normalisation, names of first and last layer."""

from __future__ import annotations

from typing import Any

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

__all__ = ["facts"]


def facts(size: int = 224, *, first_conv: str, classifier: str | tuple[str, ...], **more: Any) -> dict[str, Any]:
    """Make the entry of `default_cfgs` of a network without published weights.

    Args:
        size: Side of the default input in pixels.
        first_conv: Name of the first convolution.
        classifier: Name of the last linear layer; of a network with exits the names of all classifiers, the last one's
            first.
        **more: Further fields of `timm.models.PretrainedCfg`.

    Returns:
        Fields of `timm.models.PretrainedCfg`.
    """
    return {
        "num_classes": 1000,
        "input_size": (3, size, size),
        "pool_size": None,
        "crop_pct": 0.875 if size >= 64 else 1.0,
        "interpolation": "bicubic",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": first_conv,
        "classifier": classifier,
        "license": "apache-2.0",
        **more,
    }
