"""The networks of a bench, and whether a backend answers like PyTorch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from leannet.deploy.backends import DTYPES, Circumstances
from leannet.measure import count_macs, count_parameters, peak_activation_bytes
from leannet.models import create_network, default_img_size
from leannet.report.bench.request import BenchRequest
from leannet.report.bench.results import NetworkFacts
from leannet.training import try_out

__all__ = ["BenchNetwork", "check_answer", "make_networks"]


@dataclass(eq=False)
class BenchNetwork:
    """A network on the CPU, in float32 and evaluation mode, with what is known of it."""

    facts: NetworkFacts
    model: nn.Module
    channels: int
    seed: int
    _memory: dict[int, int] = field(default_factory=dict)

    def images(self, batch_size: int) -> Tensor:
        """Return normalised noise, ``(N, C, S, S)``."""
        size = self.facts.img_size
        return torch.randn(batch_size, self.channels, size, size, generator=torch.Generator().manual_seed(self.seed))

    def answer(self, images: Tensor) -> Tensor:
        """Return its logits in PyTorch."""
        with torch.inference_mode():
            logits: Tensor = self.model(images)
        return logits

    def weight_bytes(self) -> int:
        """Return the memory of weights and buffers."""
        return _weight_bytes(self.model)

    def memory_bytes(self, batch_size: int, how: Circumstances) -> int:
        """Measure weights and peak activations in PyTorch (`MEMORY_RULE`)."""
        if batch_size not in self._memory:
            images = self.images(batch_size)
            self._memory[batch_size] = (_gpu_memory if how.on_gpu else _cpu_memory)(self.model, images, how)
        return self._memory[batch_size]


def make_networks(request: BenchRequest, img_size: int | None) -> dict[str, BenchNetwork]:
    """Make all networks for images of a size, and count what they cost.

    Args:
        request: Settled.
        img_size: Side in pixels; each network's own if None.

    Raises:
        UserError: A network cannot be made so, or cannot take such images.
    """
    networks = {}
    for label, name in request.labels().items():
        size = img_size or default_img_size(name)
        torch.manual_seed(request.seed)
        model = create_network(
            name, num_classes=request.num_classes, img_size=size, small_input=request.small_input
        ).eval()
        answer = try_out(model, name, size)
        channels = int(getattr(model, "in_chans", 3))
        macs = count_macs(model, torch.zeros(1, channels, size, size))
        facts = NetworkFacts(label, size, int(answer.shape[1]), count_parameters(model), macs.total, macs.uncounted)
        networks[label] = BenchNetwork(facts, model, channels, request.seed)
    return networks


def check_answer(call: Callable[[], Any], logits: Tensor, how: Circumstances) -> None:
    """Make sure that a backend answers like PyTorch on the CPU in float32: a fast wrong answer is worth nothing.

    Args:
        call: From `leannet.deploy.backends.prepare_call`.
        logits: What PyTorch answers to the same images.
        how: What it was prepared for; halved precision and the tensor cores of GPUs may differ more.

    Raises:
        ValueError: The logits differ by more than the tolerance, relative to the largest one.
    """
    expected = logits.numpy()
    with torch.inference_mode():
        found = call()
    if isinstance(found, Tensor):
        found = found.float().cpu().numpy()
    tolerance = 0.2 if how.dtype != "float32" else 0.02 if how.on_gpu else 1e-3
    if found.shape != expected.shape:
        raise ValueError(f"it answers {found.shape}, PyTorch {expected.shape}")
    difference = float(np.abs(found - expected).max() / max(float(np.abs(expected).max()), 1e-12))
    if not difference <= tolerance:  # not a number is no answer either
        raise ValueError(f"it answers differently from PyTorch, by {100 * difference:.2g} % of the largest logit")


def _cpu_memory(model: nn.Module, images: Tensor, how: Circumstances) -> int:
    dtype = DTYPES[how.dtype]
    own = copy.deepcopy(model).to(dtype)
    return _weight_bytes(own) + peak_activation_bytes(own, images.to(dtype))


def _gpu_memory(model: nn.Module, images: Tensor, how: Circumstances) -> int:
    device, dtype = how.devices[0], DTYPES[how.dtype]
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    own, ready = copy.deepcopy(model).to(device, dtype), images.to(device, dtype)
    with torch.inference_mode():
        own(ready)
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def _weight_bytes(model: nn.Module) -> int:
    tensors = [*model.parameters(), *model.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
