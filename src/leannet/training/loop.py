"""The training loop: a network, batches and a recipe."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from timm.optim import create_optimizer_v2, get_optimizer_info
from timm.scheduler import create_scheduler_v2
from torch import nn
from torchvision.transforms import v2

from leannet.data import EvalBatches, TrainBatches
from leannet.training.recipe import Recipe
from leannet_runtime import UserError

__all__ = [
    "EpochRecord",
    "OnBatch",
    "OnEpoch",
    "check_training",
    "evaluate",
    "make_accelerator",
    "seed_everything",
    "train_network",
]


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch of training came to."""

    epoch: int
    """From 1."""

    loss: float
    """Mean over the images, label smoothing and mixup included."""

    lr: float
    """Learning rate of the last step."""

    images_per_second: float
    seconds: float


OnBatch = Callable[[int, int, int], None]
"""Told after each step: epoch (from 1), steps done, images done in this epoch."""

OnEpoch = Callable[[EpochRecord], None]


def make_accelerator(device: str = "auto") -> Accelerator:
    """Choose the device.

    Args:
        device: "auto" (a GPU if there is one), "cpu" or "cuda".

    Raises:
        UserError: The device is not there.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise UserError(f"unknown device {device}", "it is not auto, cpu or cuda", "Pass --device auto")
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("no device cuda", "PyTorch finds no GPU", "Pass --device cpu")
    return Accelerator(cpu=device == "cpu" or not torch.cuda.is_available())


def seed_everything(seed: int) -> None:
    """Seed the random numbers from which weights, dropout and mixup are drawn."""
    torch.manual_seed(seed)


def train_network(
    model: nn.Module,
    batches: TrainBatches,
    recipe: Recipe,
    num_classes: int,
    *,
    accelerator: Accelerator,
    on_batch: OnBatch | None = None,
    on_epoch: OnEpoch | None = None,
) -> nn.Module:
    """Train a network, in channels-last memory format.

    Args:
        model: The network, with logits for the classes.
        batches: Augmented training images.
        recipe: The settings.
        num_classes: Number of classes.
        accelerator: From `make_accelerator`.
        on_batch: Told after each step.
        on_epoch: Told after each epoch.

    Returns:
        The trained network, on the accelerator's device.

    Raises:
        UserError: The loss is no longer a number, or the optimizer or schedule is unknown.
    """
    steps_per_epoch = len(batches)
    optimizer, scheduler, epochs = _optimizer(model, recipe, steps_per_epoch)
    model.to(memory_format=torch.channels_last)
    model, optimizer = accelerator.prepare(model, optimizer)
    loss_function = nn.CrossEntropyLoss(label_smoothing=recipe.smoothing)
    mixup = v2.MixUp(alpha=recipe.mixup, num_classes=num_classes) if recipe.mixup else None
    updates = 0
    scheduler.step_update(0)
    for epoch in range(min(epochs, recipe.epochs)):
        model.train()
        start, seen = time.perf_counter(), 0
        loss_sum = torch.zeros((), device=accelerator.device)
        for step, (images, labels) in enumerate(batches.epoch(epoch), start=1):
            images, labels = images.to(accelerator.device), labels.to(accelerator.device)
            count = len(images)
            if mixup is not None:
                images, labels = mixup(images, labels)
            loss = loss_function(model(images), labels)
            accelerator.backward(loss)
            if recipe.clip_grad is not None:
                accelerator.clip_grad_norm_(model.parameters(), recipe.clip_grad)
            lr = optimizer.param_groups[0]["lr"]
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            updates += 1
            scheduler.step_update(updates)
            loss_sum += loss.detach() * count
            seen += count
            if on_batch is not None:
                on_batch(epoch + 1, step, seen)
        mean_loss = float(loss_sum) / max(seen, 1)
        if mean_loss != mean_loss or mean_loss == float("inf"):
            raise UserError(f"training broke down in epoch {epoch + 1}", "the loss is no number any more", "Lower --lr")
        seconds = time.perf_counter() - start
        if on_epoch is not None:
            on_epoch(EpochRecord(epoch + 1, mean_loss, lr, seen / seconds, seconds))
    trained: nn.Module = accelerator.unwrap_model(model)
    accelerator.free_memory()
    return trained


def evaluate(model: nn.Module, batches: EvalBatches, device: torch.device | str = "cpu") -> torch.Tensor:
    """Predict every image once.

    Args:
        model: The network; it is put into evaluation mode.
        batches: The images.
        device: Where the network is.

    Returns:
        Logits, float32 of shape ``(N, num_classes)``, on the CPU, in the order of the split.
    """
    model.eval()
    with torch.inference_mode():
        logits = [model(images.to(device)).float().cpu() for images, _ in batches]
    return torch.cat(logits)


def check_training(model: nn.Module, recipe: Recipe) -> None:
    """Refuse a recipe whose optimizer or schedule cannot train a network, before any time is spent.

    Raises:
        UserError: timm does not know them, or they do not fit the loop.
    """
    _optimizer(model, recipe, steps_per_epoch=1)


def _optimizer(model: nn.Module, recipe: Recipe, steps_per_epoch: int) -> tuple[Any, Any, int]:
    """Make timm's optimizer and its schedule by steps, and say for how many epochs the schedule is made."""
    try:
        if get_optimizer_info(recipe.opt).second_order:
            raise ValueError(f"{recipe.opt} needs second derivatives")
        optimizer = create_optimizer_v2(
            model, opt=recipe.opt, lr=recipe.lr, weight_decay=recipe.weight_decay, momentum=recipe.momentum
        )
        scheduler, epochs = create_scheduler_v2(
            optimizer,
            sched=recipe.sched,
            num_epochs=recipe.epochs,
            warmup_epochs=min(recipe.warmup_epochs, recipe.epochs / 2),
            warmup_lr=recipe.lr / 100,
            step_on_epochs=False,
            updates_per_epoch=steps_per_epoch,
        )
        if scheduler is None:
            raise ValueError(f"{recipe.sched} is no schedule")
    except (AssertionError, KeyError, ValueError) as error:
        raise UserError(
            f"cannot use optimizer {recipe.opt} with schedule {recipe.sched}",
            str(error) or "timm does not know them",
            "Choose others with --opt and --sched",
        ) from error
    return optimizer, scheduler, epochs
