"""How far the gates of a network are open, while it runs."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from leannet.blocks import MultiScaleConv2d

__all__ = ["GateMeter"]


class GateMeter:
    """Count the open gates of everything that a network answers inside the ``with``.

    Args:
        network: Any network; without gates nothing is counted.
        per_image: Also add up what open gates cost each image, for `take_macs`.

    Attributes:
        layers: Names of the layers with gates, in the order of the modules.
    """

    def __init__(self, network: nn.Module, per_image: bool = False) -> None:
        found = {name: module for name, module in network.named_modules() if isinstance(module, MultiScaleConv2d)}
        self.layers = tuple(found)
        self._modules = tuple(found.values())
        self._open = dict.fromkeys(self.layers, 0.0)
        self._seen = dict.fromkeys(self.layers, 0)
        self._per_image = per_image
        self._macs: Tensor | None = None
        self._hooks: list[Any] = []

    def __enter__(self) -> GateMeter:
        for name, module in zip(self.layers, self._modules, strict=True):
            hook = self._note(name, module)
            self._hooks.append(module.gate.register_forward_hook(hook))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hook in self._hooks:
            hook.remove()

    def _note(self, name: str, module: MultiScaleConv2d) -> Any:
        def note(_: nn.Module, inputs: tuple[Tensor], decisions: Tensor) -> None:
            opened = decisions.detach().flatten(1).double().sum(dim=1)
            self._open[name] += float(opened.sum())
            self._seen[name] += decisions.shape[0] * decisions.shape[1]
            if self._per_image:
                macs = opened.cpu() * (module.ring_macs * inputs[0].shape[-2:].numel())
                self._macs = macs if self._macs is None else self._macs + macs

        return note

    def take_macs(self, images: int) -> Tensor:
        """Return the MACs that open gates added for each image since the last call; all batches in between are one.

        Args:
            images: Images in it.

        Returns:
            float64 of shape ``(images,)``.
        """
        macs, self._macs = self._macs, None
        return torch.zeros(images, dtype=torch.float64) if macs is None else macs

    def counts(self) -> dict[str, tuple[float, int]]:
        """Return, by layer, how many gates were open and how many decided, over all images so far."""
        return {name: (self._open[name], self._seen[name]) for name in self.layers}
