"""A network taken apart into modules of which each reads what the one before it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from leannet.measure import evaluation_mode
from leannet_runtime import UserError

__all__ = ["OTHER_NETWORK", "Link", "check_maps", "find_chain"]

OTHER_NETWORK = "Choose another network: mobilenetv2_100, resnet18 and convnext_atto are some that work"
"""What helps where a network cannot have exits."""


class Link(NamedTuple):
    """A module of the chain."""

    name: str
    """Its name in the network."""

    shape: tuple[int, ...]
    """Of its answer to the image that was sent through, without the batch; see `check_maps`."""


def find_chain(network: nn.Module, name: str, cuts: tuple[str, ...], img_size: int) -> list[Link]:
    """Take ``forward_features`` apart, so that it can be left after some modules and gone on with.

    Args:
        network: A network of timm.
        name: What errors call it.
        cuts: Names of modules after which the chain must come apart; containers of these are opened.
        img_size: Side in pixels of the image that is sent through.

    Returns:
        The links; run in order, they compute ``forward_features``.

    Raises:
        UserError: It cannot take images of this size, or is no chain of modules: it does something between them, or
            uses a result twice.
    """
    opened = {"", *(cut[:end] for cut in cuts for end in range(len(cut)) if cut[end] == ".")}
    links: list[Link] = []
    inside: list[str] = []

    def enter(module_name: str) -> Any:
        def hook(*_: Any) -> None:
            inside.append(module_name)

        return hook

    def leave(module_name: str) -> Any:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            inside.pop()
            if module_name not in opened and all(outer in opened for outer in inside) and isinstance(output, Tensor):
                links.append(Link(module_name, tuple(output.shape[1:])))

        return hook

    hooks = []
    for module_name, module in network.named_modules():
        if module_name:
            hooks.append(module.register_forward_pre_hook(enter(module_name)))
            hooks.append(module.register_forward_hook(leave(module_name), always_call=True))
    shape = (2, int(getattr(network, "in_chans", 3)), img_size, img_size)
    image = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(next(network.parameters()))
    try:
        with evaluation_mode(network), torch.no_grad():
            features = network.forward_features(image.clone())  # type: ignore[operator]
    except (RuntimeError, AssertionError, ValueError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{name} cannot take images of {img_size} pixels", why, "Choose another --img-size") from error
    finally:
        for hook in hooks:
            hook.remove()
    if not _computes(network, links, image, features):
        why = "its features are not computed by modules one after the other"
        raise UserError(f"cannot attach exits to {name}", why, OTHER_NETWORK)
    return links


def check_maps(chain: Sequence[Link], name: str, stages: Sequence[str], channels: Mapping[str, int]) -> None:
    """Make sure that heads can read what stands after some modules, and that they read channels as channels.

    Args:
        chain: From `find_chain`.
        name: What errors call the network.
        stages: After which there are exits; the end of the chain is looked at too.
        channels: How many channels there are after the modules that timm calls stages.

    Raises:
        UserError: An answer is no map of channels, height and width, in this order.
    """
    shapes = {link.name: link.shape for link in chain}
    for stage in (*stages, chain[-1].name):
        shape = " x ".join(map(str, shapes[stage]))
        if len(shapes[stage]) != 3:
            why = f"{stage} answers with {shape} values for an image, not with maps of channels, height and width"
            raise UserError(f"cannot attach exits to {name}", why, OTHER_NETWORK)
    # All stages are looked at: where a map is as high as it has channels, that one cannot tell.
    for stage, count in channels.items():
        shape_here = shapes.get(stage, ())
        if len(shape_here) == 3 and shape_here[0] != count and shape_here[-1] == count:
            why = f"the {count} channels of {stage} come last in its maps, and exits read those that come first"
            raise UserError(f"cannot attach exits to {name}", why, OTHER_NETWORK)


def _computes(network: nn.Module, links: list[Link], image: Tensor, features: Tensor) -> bool:
    """Say whether the links, run in order, give the features."""
    x = image.clone()
    with evaluation_mode(network), torch.no_grad():
        try:
            for link in links:
                x = network.get_submodule(link.name)(x)
        except (RuntimeError, TypeError, ValueError, IndexError, AttributeError):
            return False
    return bool(torch.equal(x, features))
