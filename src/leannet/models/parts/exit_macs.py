"""What the exits of a network cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from leannet.blocks import MultiScaleConv2d
from leannet.measure import count_macs
from leannet.models.parts.multi_exit import MultiExit

__all__ = ["ExitMacs", "count_exit_macs"]


@dataclass(frozen=True)
class ExitMacs:
    """Multiply-accumulates of an image that leaves at each exit: its way there, with the heads that it passed."""

    closed: tuple[int, ...]
    """With all gates closed; of a network without gates the same as `open`."""

    open: tuple[int, ...]
    """With all gates open."""

    gates: dict[str, tuple[int, int]]
    """What an open gate costs: by layer the first exit behind it (from 0), and the MACs if all its gates are open."""

    def mean(self, open_shares: Mapping[str, float]) -> tuple[float, ...]:
        """Return the MACs up to each exit when gates are open as far as measured.

        Args:
            open_shares: Share of open gates by layer, as `GateMeter` counts them.
        """
        return tuple(
            closed + sum(macs * open_shares[layer] for layer, (exit, macs) in self.gates.items() if exit <= index)
            for index, closed in enumerate(self.closed)
        )


class _Until(nn.Module):
    """A network that every image leaves at one exit."""

    def __init__(self, network: nn.Module, last: int) -> None:
        super().__init__()
        self.network = network
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        network = self.network
        assert isinstance(network, MultiExit)
        for index in range(self.last + 1):
            x = network.run_segment(index, x)
            logits = network.exit_logits(index, x)
        return logits


@contextmanager
def _gates(network: nn.Module, how: str) -> Iterator[None]:
    layers = [module for module in network.modules() if isinstance(module, MultiScaleConv2d)]
    before = [layer.gates for layer in layers]
    for layer in layers:
        layer.gates = how  # type: ignore[assignment]
    try:
        yield
    finally:
        for layer, gates in zip(layers, before, strict=True):
            layer.gates = gates


def count_exit_macs(network: nn.Module, img_size: int | tuple[int, int]) -> ExitMacs:
    """Count the MACs up to each exit (`leannet.measure.MACS_RULE`).

    Args:
        network: A network with exits.
        img_size: Side of the images in pixels, or their height and width.
    """
    assert isinstance(network, MultiExit)
    like = next(network.parameters())
    sides = (img_size, img_size) if isinstance(img_size, int) else img_size
    shape = (1, int(getattr(network, "in_chans", 3)), *sides)
    image = torch.zeros(shape, device=like.device, dtype=like.dtype)
    counts = {}
    for how in ("closed", "open"):
        with _gates(network, how):
            counts[how] = [count_macs(_Until(network, index), image) for index in range(network.num_exits)]
    gates: dict[str, tuple[int, int]] = {}
    for index, (closed, opened) in enumerate(zip(counts["closed"], counts["open"], strict=True)):
        for name, module in network.named_modules():
            inside = f"network.{name}"
            if isinstance(module, MultiScaleConv2d) and inside in opened.by_module and name not in gates:
                gates[name] = (index, opened.by_module[inside] - closed.by_module[inside])
    totals = {how: tuple(count.total for count in counted) for how, counted in counts.items()}
    return ExitMacs(totals["closed"], totals["open"], gates)
