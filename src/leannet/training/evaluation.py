"""The answers of a network to every image of a part, by one process or several."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from leannet.data import EvalBatches

__all__ = ["evaluate"]


def evaluate(
    model: nn.Module,
    batches: EvalBatches,
    device: torch.device | str = "cpu",
    *,
    accelerator: Accelerator | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> Tensor:
    """Predict every image once, by all processes together.

    Args:
        model: The network; it is put into evaluation mode.
        batches: The images of this process.
        device: Where the network is.
        accelerator: Its precision is used, and its processes share the images.
        on_batch: Told how many images this process has done.

    Returns:
        Logits, float32 of shape ``(N, num_classes)``, on the CPU, in the order of the split, the same in each process.
    """
    model.eval()
    parts, done = [], 0
    with torch.inference_mode(), accelerator.autocast() if accelerator else contextlib.nullcontext():
        for images, _ in batches:
            parts.append(model(images.to(device)).float().cpu())
            done += len(images)
            if on_batch is not None:
                on_batch(done)
    # With fewer images than processes, some have none.
    found = [(batches.positions, torch.cat(parts) if parts else None)]
    if accelerator is not None and accelerator.num_processes > 1:
        found = gather_object(found)
    positions = torch.cat([where for where, _ in found])
    logits = torch.cat([values for _, values in found if values is not None])
    # Each image counts once: padding that evens out processes would count some twice.
    assert positions.sort().values.equal(torch.arange(len(batches.pixels)))
    return logits[positions.argsort()]
