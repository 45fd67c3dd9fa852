"""What the proof of a file expects of the exits that images take: PyTorch's answers, and where rounding may decide.

Two runtimes add up in another order, so that their numbers differ in the last digits. Where a sureness lies that close
to its threshold, or the two best classes that close together for a rule that counts labels, either exit is right. So it
is with the gates of EMGNet: where the mean of a feature lies at its threshold, the ring of the kernel may be added or
not, and all logits from there on are those of one or of the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from leannet.blocks.efficient_multi_scale import ChannelGate
from leannet.early_exit import ExitPolicy, StagedClassifier, sureness
from leannet.models import MultiExit

__all__ = ["ROUNDING", "Expected", "Reference", "RouteProof", "Routes"]

ROUNDING = 1e-5
"""How far two runtimes may be apart, as a share of the largest logit, or of the mean feature at a gate."""

# By which a sureness moves at most when all logits move by one: confidence 0.5, margin 1, entropy over its largest 2.
_STEEPEST = 2.0


@dataclass(frozen=True, eq=False)
class Expected:
    """What a file should answer to a batch."""

    logits: NDArray[np.float32]
    """``(N, exits, num_classes)``: what it answers with to an image that leaves there."""

    exits: NDArray[np.int64]
    """Where the images leave in PyTorch, from 1, ``(N,)``."""

    possible: NDArray[np.bool_]
    """Where an image may leave, rounding considered, ``(N, exits)``."""

    compared: NDArray[np.bool_]
    """Whether the logits there are certain: no gate on the way lies at its edge, ``(N, exits)``."""

    def at(self, exits: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the logits of these exits, ``(N, num_classes)``."""
        return self.logits[np.arange(len(exits)), self._index(exits)]

    def certain(self, exits: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Say of which images the logits at these exits can be compared, ``(N,)``."""
        return self.compared[np.arange(len(exits)), self._index(exits)]

    def wrong(self, exits: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Say which images must not leave at these exits, ``(N,)``."""
        inside = (exits >= 1) & (exits <= self.possible.shape[1])
        return ~(inside & self.possible[np.arange(len(exits)), self._index(exits)])

    def decided(self) -> NDArray[np.bool_]:
        """Say which images can leave at one exit only, ``(N,)``."""
        return self.possible.sum(axis=1) == 1

    def _index(self, exits: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.clip(exits - 1, 0, self.possible.shape[1] - 1)


class Reference:
    """A network in PyTorch, asked for what a file that was made from it should answer.

    Args:
        network: On the CPU, in evaluation mode.
        policy: By which images leave; without, all are answered at the end.
    """

    def __init__(self, network: nn.Module, policy: ExitPolicy | None) -> None:
        self.network = network
        self.policy = policy
        self.staged = None if policy is None else StagedClassifier(network, policy, count_gates=False)
        self.gates = [module for module in network.modules() if isinstance(module, ChannelGate)]

    def answer(self, images: NDArray[np.float32]) -> Expected:
        """Answer normalised images, ``(N, 3, S, S)``."""
        x, network = torch.from_numpy(images), self.network
        logits: list[Tensor] = []
        edges: list[Tensor] = []
        with torch.no_grad(), self._watched(edges):
            if self.policy is None:
                logits.append(network(x).float())
                near = [_any(edges, len(images))]
            else:
                assert isinstance(network, MultiExit)
                near = []
                for index in range(network.num_exits):
                    x = network.run_segment(index, x)
                    logits.append(network.exit_logits(index, x).float())
                    near.append(_any(edges, len(images)))
        blurred = torch.stack(near, dim=1)
        if self.policy is None or self.staged is None:
            ones = np.ones(len(images), np.int64)
            return Expected(logits[0][:, None].numpy(), ones, np.ones((len(ones), 1), bool), ~blurred.numpy())
        answers, possible = _walk(torch.stack(logits, dim=1), blurred, self.policy)
        exits = self.staged(torch.from_numpy(images)).exits
        return Expected(answers.numpy(), exits.numpy(), possible.numpy(), ~blurred.numpy())

    @contextmanager
    def _watched(self, edges: list[Tensor]) -> Iterator[None]:
        """Collect, for each gate that is asked, the images in which one of its channels lies at the edge."""

        def note(gate: ChannelGate, inputs: tuple[Tensor]) -> None:
            means = inputs[0].abs().mean(dim=(2, 3))
            scale = means.mean(dim=1, keepdim=True) + gate.threshold.abs()
            # No mean lies below zero, so that a gate with a threshold of zero or less is always open.
            near = ((means - gate.threshold).abs() <= ROUNDING * scale) & (gate.threshold > 0)
            edges.append(near.any(dim=1))

        hooks = [gate.register_forward_pre_hook(note) for gate in self.gates]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def _any(edges: list[Tensor], images: int) -> Tensor:
    return torch.stack(edges).any(dim=0) if edges else torch.zeros(images, dtype=torch.bool)


def _walk(logits: Tensor, blurred: Tensor, policy: ExitPolicy) -> tuple[Tensor, Tensor]:
    """Return what is answered at each exit, and where each image may leave.

    Args:
        logits: Of all exits, ``(N, exits, num_classes)``.
        blurred: Where they hang on a gate at its edge, ``(N, exits)``.
        policy: By which images leave.
    """
    count = logits.shape[1]
    temperatures = torch.tensor(policy.temperatures or (1.0,) * count, dtype=logits.dtype)
    answers = logits / temperatures[:, None]
    probabilities = answers.softmax(dim=2)
    slack = ROUNDING * answers.abs().amax(dim=2)
    staying = torch.ones(len(logits), dtype=torch.bool)  # who may have come so far
    unclear = torch.zeros_like(staying)  # whose labels so far are not certain, for the rule that counts them
    streak = torch.zeros(len(logits), dtype=torch.int64)
    possible = torch.zeros_like(blurred)
    for index in range(count):
        if index + 1 == count:
            possible[:, index] = staying
        else:
            if policy.rule == "patience":
                labels = logits[:, index].argmax(dim=1)
                same = index > 0 and labels == logits[:, index - 1].argmax(dim=1)
                streak = torch.where(torch.as_tensor(same), streak, 0) + 1
                first, second = answers[:, index].topk(2, dim=1).values.unbind(dim=1)
                unclear = unclear | blurred[:, index] | (first - second <= 2 * slack[:, index])
                leave = streak >= policy.patience
                doubtful = unclear & (index + 1 >= policy.patience)
            else:
                sure = sureness(probabilities[:, index], policy.rule)
                leave = sure >= policy.thresholds[index]
                distance = (sure - policy.thresholds[index]).abs()
                doubtful = blurred[:, index] | (distance <= _STEEPEST * slack[:, index])
            possible[:, index] = staying & (leave | doubtful)
            staying = staying & (~leave | doubtful)
    if policy.ensemble:
        answers[:, -1] = probabilities.mean(dim=1).clamp_min(torch.finfo(answers.dtype).tiny).log()
    return answers, possible


@dataclass(frozen=True)
class RouteProof:
    """Whether images leave a file where they leave the network, for the same input."""

    wrong: int
    """Images that left at another exit, those left out for which rounding decides."""

    undecided: int
    """Images for which rounding decides."""

    other: int
    """Those of them that left at another exit than in PyTorch."""

    taken: tuple[int, ...]
    """How many images left the file at each exit."""


class Routes:
    """Counts the exits of batch after batch."""

    def __init__(self) -> None:
        self.wrong = self.undecided = self.other = 0
        self.taken: NDArray[np.int64] = np.zeros(0, np.int64)

    def add(self, found: NDArray[np.int64], expected: Expected) -> None:
        """Compare the exits that images took."""
        wrong = expected.wrong(found) | (expected.decided() & (found != expected.exits))
        self.wrong += int(wrong.sum())
        self.undecided += int((~expected.decided()).sum())
        self.other += int((~wrong & (found != expected.exits)).sum())
        here = np.arange(1, expected.possible.shape[1] + 1)
        taken = (found[:, None] == here).sum(axis=0)
        self.taken = self.taken + taken if len(self.taken) else taken

    def proof(self) -> RouteProof:
        """Return what was counted."""
        return RouteProof(self.wrong, self.undecided, self.other, tuple(int(count) for count in self.taken))
