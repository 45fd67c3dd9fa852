"""What training minimises: cross-entropy, perhaps mixed, weighted, or compared with a teacher."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from timm.data import Mixup
from timm.loss import compute_class_weights
from torch import Tensor, nn

from leannet.training.recipe import Recipe

__all__ = ["TrainingLoss", "class_weights", "distillation"]


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


def distillation(logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Sum ``T^2 KL(softmax(teacher / T) || softmax(student / T))`` over the images.

    Args:
        logits: Of the network that learns; shape ``(B, num_classes)``.
        teacher_logits: Of the one it learns from; the same shape.
        temperature: T; the square keeps the size of the gradients when it changes.

    Source: Hinton et al. (2015), "Distilling the knowledge in a neural network", section 2.
    """
    student = F.log_softmax(logits / temperature, dim=1)
    teacher = F.log_softmax(teacher_logits / temperature, dim=1)
    return F.kl_div(student, teacher, reduction="sum", log_target=True) * temperature**2


class TrainingLoss(nn.Module):
    """Mixes images, runs the network, and sums the loss over the images of a batch.

    The sum, not the mean: whoever calls divides by the number of images of the whole step, which may be spread over
    several batches and processes. ``loss = (1 - alpha) * cross_entropy + alpha * distillation`` where there is a
    teacher.

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
            network: Gives logits.
            images: Normalised, of shape ``(B, 3, S, S)``; may be overwritten.
            labels: int64 of shape ``(B,)``.
        """
        targets = labels
        if self.mixing is not None:
            targets = self._mix(images, labels)
        logits = network(images)
        loss = (1 - self.alpha) * self.cross_entropy(logits, targets)
        if self.teacher is not None:
            loss = loss + self.alpha * distillation(logits, self.teacher(images), self.temperature)
        return loss

    def _mix(self, images: Tensor, labels: Tensor) -> Tensor:
        """Mix in place; timm mixes pairs, so the last image of an odd batch stays as it is."""
        targets = F.one_hot(labels, self.num_classes).to(images.dtype)
        even = len(images) // 2 * 2
        if even:
            assert self.mixing is not None
            _, targets[:even] = self.mixing(images[:even], labels[:even])
        return targets
