"""Inference that stops: segments after an exit are not run for the images that have left."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from leannet.early_exit.policy import Decision, ExitPolicy
from leannet.models import ExitMacs, GateMeter, MultiExit, count_exit_macs, has_exits
from leannet_runtime import UserError

__all__ = ["Exited", "StagedClassifier", "check_exits"]


@dataclass(frozen=True)
class Exited:
    """The answers to a batch, image by image."""

    labels: Tensor
    """int64 ``(N,)``."""

    probabilities: Tensor
    """``(N, num_classes)``; of those that reached the end the mean over the exits, if the policy says so."""

    exits: Tensor
    """The exit that answered, from 1; int64 ``(N,)``."""

    macs: Tensor
    """Multiply-accumulates spent on each image, with the heads that it passed; float64 ``(N,)``, on the CPU."""


def check_exits(network: nn.Module, name: str = "the network") -> MultiExit:
    """Return the network as one with exits.

    Raises:
        UserError: It has none but the last.
    """
    if not has_exits(network) or not isinstance(network, MultiExit):
        remedy = "Attach some: leannet train MODEL_FOLDER --data SOURCE --exits auto --freeze"
        raise UserError(f"{name} has no exits", "it answers at its end only", remedy)
    return network


class StagedClassifier:
    """A network with exits that images leave as soon as a policy finds an exit sure.

    The first segment runs for all images of a batch. Those that are sure leave; the others are gathered into a smaller
    batch, for which alone the next segment runs.

    Args:
        network: With exits; it is put into evaluation mode.
        policy: When images leave.
        count_gates: Count what the gates of EMGNet really opened for each image. That costs time: without it `macs`
            takes all gates as open. It changes nothing for networks without gates.

    Raises:
        UserError: The network has no exits, or the policy does not fit them.
    """

    def __init__(self, network: nn.Module, policy: ExitPolicy, *, count_gates: bool = True) -> None:
        policy.check(check_exits(network).num_exits)
        self.network = network.eval()
        self.policy = policy
        self.count_gates = count_gates
        self._macs: dict[tuple[int, int], ExitMacs] = {}

    def __call__(self, images: Tensor) -> Exited:
        """Classify a batch.

        Args:
            images: Normalised, ``(N, C, H, W)``.
        """
        macs = self._exit_macs((images.shape[-2], images.shape[-1]))
        with torch.inference_mode():
            if self.count_gates and macs.gates:
                with GateMeter(self.network, per_image=True) as meter:
                    return self._run(images, macs, meter)
            return self._run(images, macs, None)

    def _run(self, images: Tensor, macs: ExitMacs, meter: GateMeter | None) -> Exited:
        network = self.network
        assert isinstance(network, MultiExit)
        decision = Decision(self.policy, network.num_exits)
        left = torch.arange(len(images), device=images.device)  # who is still in the network
        exits = torch.empty(len(images), dtype=torch.int64, device=images.device)
        spent = torch.zeros(len(images), dtype=torch.float64)
        probabilities: Tensor | None = None
        x = images
        for index in range(network.num_exits):
            x = network.run_segment(index, x)
            answers, leave = decision.step(network.exit_logits(index, x))
            if probabilities is None:
                probabilities = answers.new_empty(len(images), answers.shape[1])
            if meter is not None:
                spent[left.cpu()] += meter.take_macs(len(left))
            gone = left[leave]
            probabilities[gone] = answers[leave]
            exits[gone] = index + 1
            stay = (~leave).nonzero().flatten()
            left = left[stay]
            if not len(left):
                break
            if len(stay) < len(leave):
                x = x[stay]
                decision.keep(stay)
        assert probabilities is not None
        fixed = torch.tensor(macs.open if meter is None else macs.closed, dtype=torch.float64)
        return Exited(probabilities.argmax(dim=1), probabilities, exits, spent + fixed[exits.cpu() - 1])

    def _exit_macs(self, img_size: tuple[int, int]) -> ExitMacs:
        """Count once for each size of the images."""
        if img_size not in self._macs:
            self._macs[img_size] = count_exit_macs(self.network, img_size)
        return self._macs[img_size]
