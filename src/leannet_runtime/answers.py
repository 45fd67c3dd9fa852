"""What a network answers: to a batch, in numbers; to an image, in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Answer", "Prediction"]


@dataclass(frozen=True)
class Prediction:
    """What a network answers to an image, or why there is no answer."""

    name: str
    """The path as it was given, or "image 3"."""

    labels: tuple[str, ...]
    """Names of the likeliest classes, the first one first; empty if the image could not be read."""

    probabilities: tuple[float, ...]
    """Of `labels`, from 0 to 1."""

    exit: int | None = None
    """By which exit the image left, from 1; None for a network without a policy of exits."""

    error: str | None = None
    """Why the image could not be read; None if it could."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What a network answers to N images, in their order."""

    logits: NDArray[np.float32]
    """``(N, num_classes)``; their softmax is `probabilities`. A file with a policy of exits gives those of the exit
    that answered, over its temperature."""

    probabilities: NDArray[np.float32]
    """``(N, num_classes)``."""

    exits: NDArray[np.int64] | None = None
    """Which exit answered, from 1, ``(N,)``; None for a network without a policy of exits."""
