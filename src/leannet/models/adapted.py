"""Networks of timm and torchvision in an adapted form, so that a model folder can name and rebuild them.

timm rebuilds a saved network from the name of a function and its arguments. `adapted` is that function for networks
that exist elsewhere and are changed here: made for small images, or with their linear bottlenecks replaced.
"""

from __future__ import annotations

from typing import Any

import timm
import torchvision
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import PretrainedCfg, load_pretrained, register_model
from torch import nn

from leannet.models.conversion import Expansion, Projection, convert_bottlenecks
from leannet.models.small_input import make_small_input
from leannet_runtime import UserError

__all__ = ["TORCHVISION", "build_adapted"]

TORCHVISION = "torchvision/"
"""Prefix of the names of torchvision's networks."""


def build_adapted(
    name: str,
    source: str,
    *,
    pretrained: bool = False,
    pretrained_cfg: str | dict[str, Any] | PretrainedCfg | None = None,
    pretrained_cfg_overlay: dict[str, Any] | None = None,
    small_input: bool = False,
    expansion: Expansion = "conv",
    projection: Projection = "conv",
    **kwargs: Any,
) -> nn.Module:
    """Make a network of timm or torchvision and adapt it.

    Args:
        name: The name under which timm's registry finds the result.
        source: A timm name, or "torchvision/NAME".
        pretrained: Load weights. They are the source's (the layers that are replaced lose theirs), or those that
            `pretrained_cfg` describes, which belong to the adapted network.
        pretrained_cfg: A tag of the source's weights, or where weights of the adapted network lie.
        pretrained_cfg_overlay: Fields of the source's `pretrained_cfg` that are to be replaced.
        small_input: Total stride 8 instead of 32 (see `leannet.models.small_input`).
        expansion: See `leannet.models.replace_linear_bottlenecks`.
        projection: See `leannet.models.replace_linear_bottlenecks`.
        **kwargs: Arguments of the source's constructor.

    Returns:
        The network, with a `pretrained_cfg` of its own.
    """
    own_weights = pretrained and pretrained_cfg is not None and not isinstance(pretrained_cfg, str)
    if isinstance(pretrained_cfg, str):
        source = f"{source}.{pretrained_cfg}"
    overlay = pretrained_cfg_overlay or {}
    kwargs.pop("pretrained_model_args", None)  # timm's note of how saved weights were made: the same arguments again
    model = _make_source(source, pretrained and not own_weights, pretrained_cfg_overlay=overlay, **kwargs)
    if (expansion, projection) != ("conv", "conv"):
        convert_bottlenecks(model, expansion, projection)
    if small_input:
        make_small_input(model, source)
    facts = {key: value for key, value in model.pretrained_cfg.items() if key not in _WHERE_WEIGHTS_LIE}
    model.pretrained_cfg = model.default_cfg = {**facts, "architecture": name}
    if own_weights:
        saved = pretrained_cfg if isinstance(pretrained_cfg, dict) else pretrained_cfg.to_dict()  # type: ignore[union-attr]
        model.pretrained_cfg = model.default_cfg = {**saved, **overlay, "architecture": name}
        load_pretrained(
            model,
            model.pretrained_cfg,
            num_classes=getattr(model, "num_classes", 0),
            in_chans=kwargs.get("in_chans", 3),
        )
    return model


_WHERE_WEIGHTS_LIE = {"url", "file", "state_dict", "hf_hub_id", "hf_hub_filename", "source", "tag", "custom_load"}


def _make_source(source: str, pretrained: bool, **kwargs: Any) -> Any:
    if not source.startswith(TORCHVISION):
        return timm.create_model(source, pretrained=pretrained, **kwargs)
    return _make_torchvision(source.removeprefix(TORCHVISION), pretrained, **kwargs)


def _make_torchvision(
    name: str,
    pretrained: bool,
    num_classes: int = 1000,
    pretrained_cfg_overlay: dict[str, Any] | None = None,
    **kwargs: Any,
) -> Any:
    """Make a network of torchvision, with the few facts that timm's tools ask of a model."""
    kwargs.pop("cache_dir", None)  # torchvision keeps its own
    if kwargs.get("in_chans") == 3:
        del kwargs["in_chans"]
    if not pretrained:
        kwargs["num_classes"] = num_classes
    if name in _AUXILIARY:
        kwargs["aux_logits"] = pretrained  # published weights have them, and load into nothing else
    try:
        model: Any = torchvision.models.get_model(name, weights="DEFAULT" if pretrained else None, **kwargs)
    except TypeError as error:
        raise UserError(f"cannot make {TORCHVISION}{name}", str(error), "Take a network of timm for this") from error
    for auxiliary in _AUXILIARY.get(name, ()):
        model.aux_logits = False
        setattr(model, auxiliary, None)
    last = _last_layer(model)
    model.set_submodule(last, _with_classes(model.get_submodule(last), num_classes))
    model.num_classes = num_classes
    model.num_features = model.get_submodule(last).weight.shape[1]
    size = 299 if name == "inception_v3" else 224
    model.pretrained_cfg = model.default_cfg = PretrainedCfg(
        num_classes=num_classes,
        input_size=(3, size, size),
        crop_pct=0.875,
        interpolation="bilinear",
        mean=IMAGENET_DEFAULT_MEAN,
        std=IMAGENET_DEFAULT_STD,
        classifier=last,
        **(pretrained_cfg_overlay or {}),
    ).to_dict()
    return model


# Classifiers that torchvision's networks train beside their own, and that nothing here makes use of.
_AUXILIARY = {"inception_v3": ("AuxLogits",), "googlenet": ("aux1", "aux2")}


def _last_layer(model: nn.Module) -> str:
    """Name the classifier; SqueezeNet's is a convolution."""
    return [name for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]


def _with_classes(layer: Any, num_classes: int) -> nn.Module:
    """Return a classifier, a new one if it has another number of classes."""
    if layer.weight.shape[0] == num_classes:
        return layer
    if isinstance(layer, nn.Linear):
        return nn.Linear(layer.in_features, num_classes)
    return nn.Conv2d(layer.in_channels, num_classes, layer.kernel_size)


@register_model
def adapted(pretrained: bool = False, source: str = "mobilenetv2_100", **kwargs: Any) -> nn.Module:
    """Any network of timm or torchvision with the adaptations of `build_adapted`."""
    return build_adapted("adapted", source, pretrained=pretrained, **kwargs)
