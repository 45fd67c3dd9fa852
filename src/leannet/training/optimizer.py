"""timm's optimizer and schedule, as a recipe names them."""

from __future__ import annotations

from typing import Any

from timm.optim import create_optimizer_v2, get_optimizer_info
from timm.scheduler import create_scheduler_v2
from torch import nn

from leannet.training.recipe import Recipe
from leannet_runtime import UserError

__all__ = ["check_training", "make_optimizer"]


def make_optimizer(model: nn.Module, recipe: Recipe, updates_per_epoch: int) -> tuple[Any, Any, int]:
    """Make optimizer and schedule.

    Args:
        model: The network; frozen weights are left out.
        recipe: Its optimizer, schedule, learning rates and epochs.
        updates_per_epoch: How often the weights change in an epoch; the schedule goes by these.

    Returns:
        timm's optimizer, timm's schedule, and the number of epochs until the schedule ends.

    Raises:
        UserError: timm does not know them, or they do not fit the loop.
    """
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
            decay_epochs=recipe.decay_epochs,
            decay_rate=recipe.decay_rate,
            min_lr=recipe.min_lr,
            warmup_epochs=min(recipe.warmup_epochs, recipe.epochs / 2),
            warmup_lr=recipe.lr / 100,
            step_on_epochs=False,
            updates_per_epoch=updates_per_epoch,
        )
        if scheduler is None:
            raise ValueError(f"{recipe.sched} is no schedule")
    except (AssertionError, KeyError, ValueError) as error:
        if recipe.momentum == 0 and "nesterov" in str(error).lower():
            raise UserError(
                f"cannot use optimizer {recipe.opt} with momentum 0",
                f"timm's {recipe.opt} is the one with Nesterov momentum, which needs some",
                "Pass --opt momentum, which is SGD and takes 0 too, or --momentum 0.9, say",
            ) from error
        raise UserError(
            f"cannot use optimizer {recipe.opt} with schedule {recipe.sched}",
            str(error) or "timm does not know them",
            "Choose others with --opt and --sched",
        ) from error
    return optimizer, scheduler, min(epochs, recipe.epochs)


def check_training(model: nn.Module, recipe: Recipe) -> None:
    """Refuse a recipe whose optimizer or schedule cannot train a network, before any time is spent.

    Raises:
        UserError: timm does not know them, or they do not fit the loop.
    """
    make_optimizer(model, recipe, updates_per_epoch=1)
