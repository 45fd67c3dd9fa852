"""What a network answered to each image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from leannet_runtime.files import write_csv

__all__ = ["PREDICTIONS", "PREDICTION_COLUMNS", "Predictions"]

PREDICTIONS = "predictions.csv"
PREDICTION_COLUMNS = ("image", "label", "predicted", "probability", "label_probability", "correct")
"""Of that file."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """Answers in the order of the images; labels are indices into the class names.

    Args:
        identifiers: What the images are called.
        labels: True classes, int64 of shape ``(N,)``.
        predicted: Answered classes, the same.
        probability: Of the answered class, 0..1.
        label_probability: Of the true class, 0..1.
    """

    identifiers: list[str]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    probability: NDArray[np.float64]
    label_probability: NDArray[np.float64]

    @classmethod
    def from_logits(cls, logits: Tensor, labels: Tensor, identifiers: list[str]) -> Predictions:
        """Read the answers from logits of shape ``(N, C)``."""
        probabilities = logits.double().softmax(dim=1)
        # Of the logits: two probabilities may be equal once they are rounded.
        predicted = logits.argmax(dim=1)
        return cls(
            identifiers=identifiers,
            labels=labels.numpy(),
            predicted=predicted.numpy(),
            probability=probabilities.gather(1, predicted[:, None])[:, 0].numpy(),
            label_probability=probabilities.gather(1, labels[:, None])[:, 0].numpy(),
        )

    def __len__(self) -> int:
        return len(self.identifiers)

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each answer is right."""
        right: NDArray[np.bool_] = self.predicted == self.labels
        return right

    def rows(self, class_names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of ``predictions.csv``, see `PREDICTION_COLUMNS`."""
        for i, identifier in enumerate(self.identifiers):
            yield (
                identifier,
                class_names[self.labels[i]],
                class_names[self.predicted[i]],
                f"{self.probability[i]:.6g}",
                f"{self.label_probability[i]:.6g}",
                int(self.correct[i]),
            )

    def write(self, folder: Path, class_names: Sequence[str]) -> None:
        """Write ``predictions.csv``.

        Raises:
            UserError: It cannot be written.
        """
        write_csv(folder / PREDICTIONS, PREDICTION_COLUMNS, self.rows(class_names))

    def confidently_wrong(self) -> NDArray[np.int64]:
        """Return the positions of the wrong answers, the most confident first."""
        wrong = np.flatnonzero(~self.correct)
        return wrong[np.argsort(-self.probability[wrong], kind="stable")]
