"""What training minimises: cross-entropy, perhaps mixed, weighted, of several exits, or compared with a teacher."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from timm.data import Mixup
from timm.loss import compute_class_weights
from torch import Tensor, nn

from leannet.blocks import gate_regularisation
from leannet.training.losses.distillation import distillation
from leannet.training.losses.exits import make_exit_loss
from leannet.training.recipe import Recipe

__all__ = ["TrainingLoss", "class_weights"]


def class_weights(counts: Sequence[int], how: str) -> Tensor | None:
    """Return the weight of each class in the loss.

    Args:
        counts: Training images of each class.
        how: "none"; "balanced": inverse frequency, as scikit-learn's ``class_weight="balanced"``; "sqrt": its square
            root.

    Returns:
        float32 of shape ``(num_classes,)``, whose mean over the training images is 1, so that the learning rate means
        what it did; None for "none".
    """
    if how == "none":
        return None
    _, weights = compute_class_weights(counts, sum(counts), "inv_freq", power=1.0 if how == "balanced" else 0.5)
    images = torch.as_tensor(counts, dtype=weights.dtype)
    return weights * images.sum() / (weights * images).sum()


class TrainingLoss(nn.Module):
    """Mixes images, runs the network, and sums the loss over the images of a batch.

    The sum, not the mean: whoever calls divides by the number of images of the whole step, which may be spread over
    several batches and processes. ``loss = (1 - alpha) * cross_entropy + alpha * distillation`` where there is a
    teacher. Of a network with exits the cross-entropy is that of the exits (`leannet.training.losses.exits`), the
    teacher teaches each of them, and the regularisation of gates is added once an image (EMGNet, equation 7).

    torch's cross-entropy takes smoothed, mixed and weighted labels at once; timm has a class for each and none for all.

    Args:
        recipe: Smoothing, mixup, cutmix, the share and temperature of the teacher.
        num_classes: Number of classes.
        weights: From `class_weights`.
        teacher: Gives logits for normalised images; it is not trained.
    """

    def __init__(
        self,
        recipe: Recipe,
        num_classes: int,
        weights: Tensor | None = None,
        teacher: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        # Smoothing is done where weights are applied; timm's mixing would smooth once more.
        self.cross_entropy = nn.CrossEntropyLoss(weights, reduction="sum", label_smoothing=recipe.smoothing)
        self.exit_loss = make_exit_loss(recipe, self.cross_entropy)
        self.gate_alpha = recipe.gate_alpha
        self.mixing = (
            Mixup(recipe.mixup, recipe.cutmix, label_smoothing=0.0, num_classes=num_classes)
            if recipe.mixup or recipe.cutmix
            else None
        )
        self.num_classes = num_classes
        self.teacher = teacher
        self.alpha = recipe.distill_alpha if teacher is not None else 0.0
        self.temperature = recipe.distill_temperature

    def forward(self, network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Return the sum of the losses of a batch.

        Args:
            network: Gives logits, or those of all exits and what their classifiers pool.
            images: Normalised, of shape ``(B, 3, S, S)``; may be overwritten.
            labels: int64 of shape ``(B,)``.
        """
        targets = labels
        if self.mixing is not None:
            targets = self._mix(images, labels)
        answer = network(images)
        if isinstance(answer, Tensor):
            exits, learned = [answer], self.cross_entropy(answer, targets)
        else:
            exits, maps = answer
            learned = self.exit_loss(exits, maps, targets)
        loss = (1 - self.alpha) * learned
        if self.teacher is not None:
            taught = self.teacher(images)
            loss = loss + self.alpha * sum(distillation(logits, taught, self.temperature) for logits in exits)
        if self.gate_alpha:
            loss = loss + self.gate_alpha * len(images) * gate_regularisation(network)
        return loss

    def _mix(self, images: Tensor, labels: Tensor) -> Tensor:
        """Mix in place; timm mixes pairs, so the last image of an odd batch stays as it is."""
        targets = F.one_hot(labels, self.num_classes).to(images.dtype)
        even = len(images) // 2 * 2
        if even:
            assert self.mixing is not None
            _, targets[:even] = self.mixing(images[:even], labels[:even])
        return targets
