"""What all networks with several exits have in common, and the multi-exit form of a chain of stages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from timm.layers import ClassifierHead
from timm.models import checkpoint_seq
from torch import Tensor, nn

from leannet.models.parts.exit_heads import ExitHead, make_exit_head
from leannet.models.parts.staged import StagedNetwork

__all__ = ["AllExits", "ExitLogits", "MultiExit", "MultiExitNetwork", "has_exits"]


class MultiExit:
    """A network with exits, which can be run one segment at a time.

    Segment 0 leads from the image to the first exit, segment i from there to the next; `run_segment` of all in turn and
    `exit_logits` of the last are `forward`.
    """

    if TYPE_CHECKING:  # TorchScript reads annotations, and has no such type
        exits: nn.ModuleList
        """The heads of all exits but the last."""

    @property
    def num_exits(self) -> int:
        """How many exits there are, the last classifier included."""
        return len(self.exits) + 1

    def run_segment(self, index: int, x: Tensor) -> Tensor:
        """Go on to an exit: images (index 0) or the features of the exit before -> the features of this one."""
        raise NotImplementedError

    def last_map(self, x: Tensor) -> Tensor:
        """Features of the last segment -> what its classifier pools."""
        raise NotImplementedError

    def classify_last(self, x: Tensor) -> Tensor:
        """What `last_map` returned -> logits."""
        raise NotImplementedError

    def exit_map(self, index: int, x: Tensor) -> Tensor:
        """Features of a segment -> what the classifier of its exit pools; ``(N, C, h, w)``."""
        last = index + 1 == self.num_exits
        return self.last_map(x) if last else self.exits[index].transform(x)  # type: ignore[operator]

    def classify(self, index: int, x: Tensor) -> Tensor:
        """What `exit_map` returned -> logits ``(N, num_classes)``."""
        last = index + 1 == self.num_exits
        return self.classify_last(x) if last else self.exits[index].classifier(x)  # type: ignore[operator]

    def exit_logits(self, index: int, x: Tensor) -> Tensor:
        """Features of a segment -> logits of its exit, ``(N, num_classes)``."""
        return self.classify(index, self.exit_map(index, x))

    def forward_exits(self, x: Tensor) -> list[Tensor]:
        """Images -> logits of every exit, each ``(N, num_classes)``."""
        return self.forward_exit_maps(x)[0]

    def forward_exit_maps(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Images -> logits of every exit, and what each classifier pools (for distillation)."""
        logits, maps = [], []
        for index in range(self.num_exits):
            x = self.run_segment(index, x)
            maps.append(self.exit_map(index, x))
            logits.append(self.classify(index, maps[-1]))
        return logits, maps


def has_exits(network: nn.Module) -> bool:
    """Say whether a network has exits before its last."""
    return isinstance(network, MultiExit) and network.num_exits > 1


class AllExits(nn.Module):
    """A network whose answer is what training needs of all exits; it can be wrapped or compiled as any module.

    Shape: ``(N, C, H, W)`` -> logits of every exit, and what each classifier pools.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """See `MultiExit.forward_exit_maps`."""
        assert isinstance(self.network, MultiExit)
        return self.network.forward_exit_maps(x)


class ExitLogits(nn.Module):
    """A network that answers with the logits of all exits at once.

    Shape: ``(N, C, H, W)`` -> ``(N, exits, num_classes)``; of a network without exits ``(N, 1, num_classes)``.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Stack the logits of the exits."""
        network = self.network
        logits = network.forward_exits(x) if isinstance(network, MultiExit) else [network(x)]
        return torch.stack(logits, dim=1)


class MultiExitNetwork(MultiExit, StagedNetwork):
    """A chain of stages with an exit after some of them.

    Args:
        exit_stages: The stages, from 0, after which there is an exit; the last stage has one anyway.
        exit_head: Name of the heads in `leannet.models.parts.exit_heads.EXIT_HEADS`.
        **chain: Arguments of `StagedNetwork`.

    Shape: ``(N, in_chans, H, W)`` -> ``(N, num_classes)``, the logits of the last exit.
    """

    def __init__(self, *, exit_stages: tuple[int, ...], exit_head: str, **chain: Any) -> None:
        super().__init__(**chain)
        channels, reductions = chain["channels"], chain["reductions"]
        self._ends = (*exit_stages, len(self.stages) - 1)
        heads = [
            make_exit_head(
                exit_head,
                channels[stage],
                reductions[-1] // reductions[stage],
                channels[-1],
                self.num_classes,
                self.drop_rate,
            )
            for stage in exit_stages
        ]
        self.exits = nn.ModuleList(heads)

    def run_segment(self, index: int, x: Tensor) -> Tensor:
        """Run the stages between the exit before and this one."""
        if index == 0:
            x = self.stem(x)
        first = self._ends[index - 1] + 1 if index else 0
        for stage in self.stages[first : self._ends[index] + 1]:
            x = checkpoint_seq(stage, x) if self.grad_checkpointing else stage(x)
        return x

    def last_map(self, x: Tensor) -> Tensor:
        """Run the neck."""
        features: Tensor = self.neck(x)
        return features

    def classify_last(self, x: Tensor) -> Tensor:
        """Pool and classify."""
        return self.forward_head(x)

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifiers of all exits; the pooling is that of the last."""
        super().reset_classifier(num_classes, global_pool)
        for head in self.exits:
            assert isinstance(head, ExitHead)
            assert isinstance(head.classifier, ClassifierHead)
            head.classifier.reset(num_classes)

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Delete what `forward_intermediates` does not need; the early exits go with the last classifier."""
        before = len(self.stages)
        take = super().prune_intermediate_layers(indices, prune_norm, prune_head)
        if prune_head or len(self.stages) < before:
            self.exits = nn.ModuleList()
            self._ends = (len(self.stages) - 1,)
        return take
