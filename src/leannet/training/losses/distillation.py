"""How one network learns from the probabilities of another."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

__all__ = ["distillation"]


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
