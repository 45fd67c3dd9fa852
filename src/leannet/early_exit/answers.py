"""What every exit of a network answers to every image of a part, and what each image costs up to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from leannet.early_exit.staged import check_exits
from leannet.models import GateMeter, count_exit_macs

__all__ = ["ExitAnswers", "collect_answers"]


@dataclass(frozen=True)
class ExitAnswers:
    """The answers of all exits to the same images."""

    logits: Tensor
    """float32 ``(N, exits, num_classes)``."""

    labels: Tensor
    """True classes, int64 ``(N,)``."""

    macs: Tensor
    """Multiply-accumulates up to each exit, gates open as they were: float64 ``(N, exits)``."""

    @property
    def num_exits(self) -> int:
        """How many exits there are."""
        return self.logits.shape[1]


def collect_answers(
    network: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    img_size: int,
    device: torch.device | str = "cpu",
    on_batch: Callable[[int], None] | None = None,
) -> ExitAnswers:
    """Run a network to its end for every image.

    Args:
        network: With exits; it is put into evaluation mode.
        batches: Normalised images ``(B, C, S, S)`` and labels ``(B,)``.
        img_size: S, in pixels.
        device: Where the network is.
        on_batch: Told how many images are done.

    Raises:
        UserError: The network has no exits.
    """
    exits = check_exits(network)
    network.eval()
    counted = count_exit_macs(network, img_size)
    logits, labels, macs = [], [], []
    done = 0
    with torch.inference_mode(), GateMeter(network, per_image=True) as meter:
        for images, truth in batches:
            x, answers, spent = images.to(device), [], []
            for index in range(exits.num_exits):
                x = exits.run_segment(index, x)
                answers.append(exits.exit_logits(index, x).float().cpu())
                spent.append(meter.take_macs(len(images)))
            logits.append(torch.stack(answers, dim=1))
            labels.append(truth)
            macs.append(torch.stack(spent, dim=1).cumsum(dim=1) + torch.tensor(counted.closed, dtype=torch.float64))
            done += len(images)
            if on_batch is not None:
                on_batch(done)
    return ExitAnswers(torch.cat(logits), torch.cat(labels), torch.cat(macs))
