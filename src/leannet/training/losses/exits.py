"""How the exits of a network learn together: the losses of EMGNet, SD-ResNet and SCAN, one function each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor

from leannet.training.losses.distillation import distillation
from leannet.training.recipe import Recipe
from leannet_runtime import UserError

__all__ = ["cross_entropies", "feature_distance", "make_exit_loss", "scan", "self_distillation"]

CrossEntropy = Callable[[Tensor, Tensor], Tensor]
ExitLoss = Callable[[Sequence[Tensor], Sequence[Tensor], Tensor], Tensor]


def cross_entropies(
    logits: Sequence[Tensor], maps: Sequence[Tensor], targets: Tensor, *, cross_entropy: CrossEntropy
) -> Tensor:
    """``sum over exits i of CE(z_i, y)``.

    Args:
        logits: ``z_i`` of each exit, ``(B, num_classes)``.
        maps: Not used here.
        targets: ``y``, as the cross-entropy takes it.
        cross_entropy: Sums over the images.

    Source: EMGNet, equation 7, without the gates' term.
    """
    del maps
    return sum((cross_entropy(z, targets) for z in logits[1:]), start=cross_entropy(logits[0], targets))


def self_distillation(
    logits: Sequence[Tensor],
    maps: Sequence[Tensor],
    targets: Tensor,
    *,
    cross_entropy: CrossEntropy,
    alpha: float = 0.1,
    temperature: float = 3.0,
    feature_weight: float = 1e-6,
) -> Tensor:
    """``(1-a) sum_i CE(z_i, y) + a sum_{i<last} T^2 KL(p_last || p_i) + b sum_{i<last} ||F_i - F_last||^2``.

    ``p = softmax(z / T)``; the last exit teaches and is detached.

    Args:
        logits: ``z_i`` of each exit, ``(B, num_classes)``.
        maps: ``F_i``, what each classifier pools, all of one shape.
        targets: ``y``, as the cross-entropy takes it.
        cross_entropy: Sums over the images.
        alpha: a.
        temperature: T.
        feature_weight: b.

    Source: Zhang et al. (2019), "Be your own teacher", equations 2 to 5.
    """
    learned = cross_entropies(logits, maps, targets, cross_entropy=cross_entropy)
    told = _from_last(logits, temperature)
    return (1 - alpha) * learned + alpha * told + _weighted_distance(maps, feature_weight)


def scan(
    logits: Sequence[Tensor],
    maps: Sequence[Tensor],
    targets: Tensor,
    *,
    cross_entropy: CrossEntropy,
    alpha: float = 0.5,
    temperature: float = 3.0,
    feature_weight: float = 5e-7,
) -> Tensor:
    """``CE(z_last, y) + sum_{i<last} [(1-a) CE(z_i, y) + a T^2 KL(p_last || p_i) + b ||F_i - F_last||^2]``.

    As `self_distillation`, but the last exit, which nobody teaches, learns from the labels in full.

    Args:
        logits: ``z_i`` of each exit, ``(B, num_classes)``.
        maps: ``F_i``, what each classifier pools, all of one shape.
        targets: ``y``, as the cross-entropy takes it.
        cross_entropy: Sums over the images.
        alpha: a.
        temperature: T.
        feature_weight: b.

    Source: Zhang et al. (2019), "SCAN", section 3.3.
    """
    last = cross_entropy(logits[-1], targets)
    learned = cross_entropies(logits, maps, targets, cross_entropy=cross_entropy) - last
    told = _from_last(logits, temperature)
    return last + (1 - alpha) * learned + alpha * told + _weighted_distance(maps, feature_weight)


def _from_last(logits: Sequence[Tensor], temperature: float) -> Tensor:
    teacher = logits[-1].detach()
    return sum((distillation(z, teacher, temperature) for z in logits[:-1]), start=teacher.new_zeros(()))


def _weighted_distance(maps: Sequence[Tensor], weight: float) -> Tensor | float:
    return weight * feature_distance(maps) if weight else 0.0


def feature_distance(maps: Sequence[Tensor]) -> Tensor:
    """``sum_{i<last} ||F_i - F_last||^2`` over images, channels and positions; the last is detached.

    Raises:
        UserError: The maps have not one shape, as where the heads are linear layers alone.
    """
    last = maps[-1].detach()
    for number, each in enumerate(maps, start=1):
        if each.shape != last.shape:
            shapes = " x ".join(map(str, each.shape[1:])), " x ".join(map(str, last.shape[1:]))
            raise UserError(
                "cannot compare the features of the exits",
                f"those of exit {number} are {shapes[0]}, those of the last {shapes[1]}",
                "Pass --exit-feature-weight 0, or choose another --exit-head",
            )
    return sum(((each - last).square().sum() for each in maps[:-1]), start=last.new_zeros(()))


def make_exit_loss(recipe: Recipe, cross_entropy: CrossEntropy) -> ExitLoss:
    """Return the loss that a recipe names, of the logits and maps of all exits and the targets."""
    if recipe.exit_loss == "sum":
        return partial(cross_entropies, cross_entropy=cross_entropy)
    return partial(
        {"self_distillation": self_distillation, "scan": scan}[recipe.exit_loss],
        cross_entropy=cross_entropy,
        alpha=recipe.exit_distill_alpha,
        temperature=recipe.exit_distill_temperature,
        feature_weight=recipe.exit_feature_weight,
    )
