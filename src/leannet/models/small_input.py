"""The one rule by which a network made for large images is made to fit small ones.

Networks for ImageNet halve the resolution five times (stride 32): of a 32 x 32 image one position is left. In its
small-input form a network halves it three times (stride 8): **every convolution or pooling of stride 2 that reads
the full or the half resolution runs at stride 1.** No weight changes, so weights trained on large images still load.
The rule is the same for every network, so a comparison on small images stays one of networks. It is also how the
paper of CSE lays its network out for CIFAR-10 (32 x 32 -> 4 x 4).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from leannet.measure import evaluation_mode
from leannet_runtime import UserError

__all__ = ["SMALL_INPUT_BELOW", "make_small_input"]

SMALL_INPUT_BELOW = 64
"""Images smaller than this get the small-input form of a network, unless the user says otherwise."""

_PROBE = 64  # side of the image that is sent through to see which layer reads which resolution
_STRIDED = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)


def make_small_input(model: nn.Module, name: str = "the network") -> None:
    """Change a network in place so that its total stride is a quarter of what it was.

    Args:
        model: A network whose layers reduce the resolution by strides of 2.
        name: Its name, for the message.

    Raises:
        UserError: The network reduces the resolution in another way (a patch embedding of stride 4 or 16, say).
    """
    for module in _layers_before_a_quarter(model, name):
        module.stride = 1 if isinstance(module.stride, int) else (1, 1)
    for feature in _feature_info(model):
        feature["reduction"] = max(1, feature["reduction"] // 4)


def _layers_before_a_quarter(model: nn.Module, name: str) -> list[nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d]:
    reading: list[tuple[nn.Module, int]] = []

    def note(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        reading.append((module, inputs[0].shape[-1]))

    hooks = [m.register_forward_pre_hook(note) for m in model.modules() if isinstance(m, _STRIDED) and _stride(m) > 1]
    channels = getattr(model, "in_chans", 3)
    try:
        with evaluation_mode(model), torch.no_grad():
            model(torch.zeros(1, channels, _PROBE, _PROBE))
    except Exception:  # it takes one size only, and may say so in any way; without readings it is refused below
        reading.clear()
    finally:
        for hook in hooks:
            hook.remove()
    early = [(module, side) for module, side in reading if side > _PROBE // 4]
    read = {side for _, side in early}
    if read != {_PROBE, _PROBE // 2} or not all(_can_run_at_stride_1(module) for module, _ in early):
        raise UserError(
            f"{name} has no small-input form",
            "its first two reductions are not layers of stride 2",
            f"Choose --img-size {SMALL_INPUT_BELOW} or more, or pass --no-small-input",
        )
    return [module for module, _ in early]  # type: ignore[misc]


def _can_run_at_stride_1(module: nn.Module) -> bool:
    """Say whether the map keeps its size at stride 1, which takes a kernel with a centre."""
    return _stride(module) == 2 and _first(module.kernel_size) % 2 == 1


def _stride(module: nn.Module) -> int:
    return _first(module.stride)


def _first(sides: Any) -> int:
    return int(sides if isinstance(sides, int) else sides[0])


def _feature_info(model: nn.Module) -> list[dict[str, int]]:
    info = getattr(model, "feature_info", [])
    return getattr(info, "info", info)  # timm wraps the list when features_only=True
