"""The training loop: a network, batches and a recipe, from whichever step on."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from leannet.data import TrainBatches
from leannet.models import AllExits, has_exits
from leannet.training.devices import bears_channels_last, keep_freed_memory
from leannet.training.distributed import GlobalBatchNorm, synchronise_batch_norm
from leannet.training.losses import TrainingLoss, class_weights
from leannet.training.network import learned_when_frozen
from leannet.training.optimizer import make_optimizer
from leannet.training.recipe import Recipe
from leannet_runtime import UserError

__all__ = ["EpochRecord", "Position", "Trainer", "seed_everything", "train_network"]


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch of training came to."""

    epoch: int
    """From 1."""

    loss: float
    """Mean over the images, label smoothing, mixing and teacher included."""

    lr: float
    """Learning rate of the last step."""

    images_per_second: float
    seconds: float


@dataclass
class Position:
    """How far a training is; with the states of `Trainer.state`, all that a later process needs to know."""

    epoch: int = 0
    """Finished epochs."""

    updates: int = 0
    """Finished updates of the weights in the epoch that is under way."""

    all_updates: int = 0
    images: int = 0
    """Images of the epoch under way, over all processes."""

    lr: float = 0.0
    seconds: float = 0.0
    """Time spent on the epoch under way, waits between processes not counted."""


@dataclass
class Trainer:
    """One training, which can be left after any update and taken up again.

    Everything random is a function of the seed, the epoch and the step: the order and the changes of the images
    (`TrainBatches`), and what dropout and mixing draw, for which the global random numbers are seeded before each step.
    So no random state needs to be kept, and a training that is taken up does exactly what the other would have done.

    Args:
        network: The network, with logits for the classes.
        batches: Augmented training images; their seed is that of the training.
        recipe: The settings.
        num_classes: Number of classes.
        accelerator: From `leannet.training.make_accelerator`.
        teacher: Gives logits for normalised images (see `leannet.training.teacher`).
        channels_last: Whether weights and images lie channels last, faster for most networks; where they can.
        compile: Whether the network goes through `torch.compile`.
        sync_bn: Whether batch norms take their statistics over all processes.

    Raises:
        UserError: The optimizer or schedule is unknown.
    """

    network: nn.Module
    batches: TrainBatches
    recipe: Recipe
    num_classes: int
    accelerator: Accelerator
    teacher: Callable[[Tensor], Tensor] | None = None
    channels_last: bool = True
    compile: bool = False
    sync_bn: bool = True
    position: Position = field(default_factory=Position)

    def __post_init__(self) -> None:
        device, recipe = self.accelerator.device, self.recipe
        if device.type == "cpu":
            keep_freed_memory()
            self.channels_last &= bears_channels_last(self.network)
        if recipe.freeze:
            _freeze(self.network)
        self.updates_per_epoch = -(-len(self.batches) // recipe.grad_accum_steps)
        self._layout = torch.channels_last if self.channels_last else torch.contiguous_format
        self.network.to(device).to(memory_format=self._layout)
        many = self.accelerator.num_processes > 1
        if many and self.sync_bn:
            self.network = synchronise_batch_norm(self.network, device)
        # Before accelerate wraps the network: a copy of the wrapped one would call the original.
        self.average = ModelEmaV3(self.network, recipe.model_ema_decay, use_warmup=True) if recipe.model_ema else None
        optimizer, self.scheduler, self.epochs = make_optimizer(self.network, recipe, self.updates_per_epoch)
        self._bare_optimizer = optimizer
        learner = AllExits(self.network) if has_exits(self.network) else self.network
        compiled = torch.compile(learner) if self.compile else learner
        self.wrapped, self.optimizer = self.accelerator.prepare(compiled, optimizer)
        counts = self.batches.labels.bincount(minlength=self.num_classes).tolist()
        weights = class_weights(counts, recipe.class_weights)
        self.loss = TrainingLoss(recipe, self.num_classes, weights, self.teacher).to(device)
        # The losses of this process in the epoch under way; on the device, so that no step waits for a number.
        self._losses = torch.zeros((), device=device)
        self._batch_norm = GlobalBatchNorm() if many and self.sync_bn and device.type == "cpu" else None
        self.scheduler.step_update(0)

    @property
    def judged(self) -> nn.Module:
        """The network that is evaluated and kept: the average of the weights if there is one."""
        return self.network if self.average is None else self.average.module

    @property
    def finished(self) -> bool:
        """Whether no epoch is left."""
        return self.position.epoch >= self.epochs

    def run_epoch(self, on_update: Callable[[Position], None] | None = None) -> EpochRecord:
        """Do what is left of the epoch under way.

        Args:
            on_update: Called after each update of the weights; it may take `state` and may raise.

        Returns:
            The record of the whole epoch; `finish_epoch` makes the next one begin.

        Raises:
            UserError: The loss is no longer a number.
        """
        position, steps = self.position, self.recipe.grad_accum_steps
        _training_mode(self.network, self.recipe.freeze)
        before, start = position.seconds, time.perf_counter()
        stream = self.batches.epoch(position.epoch, position.updates * steps)
        while group := list(islice(stream, steps)):
            self._losses += self._update(group)
            position.updates += 1
            position.all_updates += 1
            position.seconds = before + time.perf_counter() - start
            if on_update is not None:
                on_update(position)
        position.seconds = before + time.perf_counter() - start
        mean = float(self.accelerator.reduce(self._losses, "sum")) / max(position.images, 1)
        if mean != mean or mean in (float("inf"), float("-inf")):
            what = f"training broke down in epoch {position.epoch + 1}"
            raise UserError(what, "the loss is no number any more", "Lower --lr")
        rate = position.images / max(position.seconds, 1e-9)
        return EpochRecord(position.epoch + 1, mean, position.lr, rate, position.seconds)

    def finish_epoch(self, top1: float | None = None) -> None:
        """Begin the next epoch.

        Args:
            top1: Accuracy on the validation part, for the schedule "plateau".
        """
        self.position = Position(self.position.epoch + 1, all_updates=self.position.all_updates)
        self._losses = torch.zeros_like(self._losses)
        self.scheduler.step(self.position.epoch, top1)

    def _update(self, group: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Change the weights once, by one or more batches of this process; return the sum of their losses."""
        position, accelerator = self.position, self.accelerator
        first = position.updates * self.recipe.grad_accum_steps
        total = sum(self.batches.total_count(position.epoch, first + number) for number in range(len(group)))
        losses = torch.zeros((), device=accelerator.device)
        for number, (images, labels) in enumerate(group):
            _seed_step(self.batches.seed, position.epoch, first + number, accelerator.process_index)
            labels = labels.to(accelerator.device)
            images = images.to(accelerator.device, memory_format=self._layout)
            last = number + 1 == len(group)
            with contextlib.nullcontext() if last else accelerator.no_sync(self.wrapped):
                with self._batch_norm or contextlib.nullcontext():
                    loss = self.loss(self.wrapped, images, labels)
                # Gradients are averaged over the processes, which may have different numbers of images.
                accelerator.backward(loss * (accelerator.num_processes / total))
            losses += loss.detach()
        if self.recipe.clip_grad is not None:
            accelerator.clip_grad_norm_(self.network.parameters(), self.recipe.clip_grad)
        position.lr = self.optimizer.param_groups[0]["lr"]
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        position.images += total
        self.scheduler.step_update(position.all_updates + 1)
        if self.average is not None:
            self.average.update(self.network, position.all_updates + 1)
        return losses

    def state(self) -> dict[str, Any]:
        """Return everything that `restore` needs, but the weights of the network."""
        scaler = self.accelerator.scaler
        return {
            "position": asdict(self.position),
            "losses": float(self._losses),
            "optimizer": self._bare_optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "average": None if self.average is None else dict(self.average.module.state_dict()),
            "scaler": None if scaler is None else scaler.state_dict(),
        }

    def restore(self, weights: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Go to where another process was.

        Args:
            weights: State of the network.
            state: What `state` returned there.

        Raises:
            RuntimeError, ValueError, KeyError: They belong to another network or recipe.
        """
        self.network.load_state_dict(weights)
        self._bare_optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        if self.average is not None:
            self.average.module.load_state_dict(state["average"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.position = Position(**state["position"])
        self._losses.fill_(state["losses"])


def seed_everything(seed: int) -> None:
    """Seed the random numbers from which weights, dropout and mixing are drawn."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # timm's mixing draws from these


def _seed_step(*numbers: int) -> None:
    """Seed with a function of these numbers; near numbers give unrelated random numbers."""
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    seed_everything(int(state[0] >> 1))  # 63 bits: some devices take no more


def _training_mode(network: nn.Module, freeze: bool) -> None:
    """Put a network into training mode; of a frozen one the classifier only, so that no statistics change."""
    network.train(not freeze)
    if freeze:
        for name, module in network.named_modules():
            if name.startswith(learned_when_frozen(network)):
                module.train()


def _freeze(network: nn.Module) -> None:
    """Let only the classifier learn."""
    for name, weight in network.named_parameters():
        weight.requires_grad_(name.startswith(learned_when_frozen(network)))


def train_network(
    trainer: Trainer,
    *,
    on_batch: Callable[[int, int, int], None] | None = None,
    on_epoch: Callable[[EpochRecord], None] | None = None,
) -> nn.Module:
    """Train from where a trainer stands to the end, without judging in between.

    Args:
        trainer: The training.
        on_batch: Told after each update: epoch (from 1), updates and images done in it.
        on_epoch: Told after each epoch.

    Returns:
        The trained network, on the accelerator's device.

    Raises:
        UserError: The loss is no longer a number.
    """

    def update_done(position: Position) -> None:
        if on_batch is not None:
            on_batch(position.epoch + 1, position.updates, position.images)

    while not trainer.finished:
        record = trainer.run_epoch(update_done)
        trainer.finish_epoch()
        if on_epoch is not None:
            on_epoch(record)
    trainer.accelerator.free_memory()
    return trainer.judged
