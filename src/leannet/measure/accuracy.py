"""How well a classifier answers: figures of its logits, each with a 95 % interval."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from leannet.measure.intervals import Interval, wilson_interval

__all__ = ["CALIBRATION_BINS", "Accuracy", "ClassAccuracy", "measure_accuracy"]

CALIBRATION_BINS = 15
RESAMPLES = 1000
TOP_FEW = 5


@dataclass(frozen=True)
class ClassAccuracy:
    """How well one class is told from the others; percent."""

    label: int
    images: int
    """Images of this class."""

    precision: float | None
    """None where no image was taken for this class."""

    recall: Interval | None
    """None where there is no image of this class."""

    f1: float | None
    """None where there is no image of this class."""


@dataclass(frozen=True)
class Accuracy:
    """How well a classifier answers on some images; percent, unless said otherwise.

    Balanced accuracy and macro F1 are means over the classes that have images. Answers that name another class count
    as wrong for the class of the image, and nowhere else.
    """

    images: int
    top1: Interval
    top5: Interval | None
    """None where there are not more than five classes."""

    balanced_accuracy: Interval
    """Mean of the recalls."""

    macro_f1: Interval
    """Mean of the F1 scores."""

    loss: Interval
    """Cross-entropy, in nats."""

    calibration_error: Interval
    """Expected calibration error of the predicted class, in 15 bins of equal width."""

    classes: tuple[ClassAccuracy, ...]
    """Every class, by label."""

    confusion: NDArray[np.int64]
    """Number of images by true class (row) and predicted class (column)."""

    @property
    def without_images(self) -> tuple[int, ...]:
        """The classes that have no images and are left out of the means."""
        return tuple(figures.label for figures in self.classes if not figures.images)


def measure_accuracy(logits: Tensor, labels: Tensor, *, seed: int = 0) -> Accuracy:
    """Judge answers.

    Intervals are Wilson's for shares of images and of the images of a class. The others come from a bootstrap over
    images: 1000 resamples, percentiles. The calibration error has the reversed (basic) bootstrap: it is the mean of
    absolute values, chance makes it larger, and resampling once more, so that percentiles would miss the truth; its
    upper end is never below the value. A bootstrap sees no more than there is: no mistake at all has no spread.

    Args:
        logits: Finite, of shape ``(N, C)``, N at least 1, C at least 2.
        labels: The true classes 0..C-1, int64 of shape ``(N,)``.
        seed: Of the bootstrap.

    Raises:
        ValueError: The shapes do not fit, a label is out of range, or a logit is no finite number.
    """
    _check(logits, labels)
    from sklearn.metrics import confusion_matrix  # imported here since it takes long

    images, classes = logits.shape
    logits = logits.double()
    predicted = logits.argmax(dim=1)
    losses = F.cross_entropy(logits, labels, reduction="none").numpy()
    # A confident answer can be rounded to exactly 1, which torchmetrics would put into a bin of its own.
    confidences = logits.softmax(dim=1).amax(dim=1).clamp(max=1 - 1e-12)
    features = _Features(losses, confidences.numpy(), predicted.numpy(), labels.numpy(), classes)
    low, high = np.quantile(features.bootstrap(seed), (0.025, 0.975), axis=0)
    by_class = _by_class(predicted, labels, classes)
    values = (
        float(losses.mean()),
        _calibration_error(confidences, predicted == labels),
        float(np.mean([figures.recall.value for figures in by_class if figures.recall is not None])),
        float(np.mean([figures.f1 for figures in by_class if figures.f1 is not None])),
    )
    loss, calibration, balanced, macro_f1 = (
        Interval(value, float(low[i]), float(high[i]), f"bootstrap over images, {RESAMPLES} resamples, percentiles")
        for i, value in enumerate(values)
    )
    return Accuracy(
        images=images,
        top1=_share(predicted == labels),
        top5=_share((logits.topk(TOP_FEW).indices == labels[:, None]).any(dim=1)) if classes > TOP_FEW else None,
        balanced_accuracy=balanced,
        macro_f1=macro_f1,
        loss=loss,
        calibration_error=_reversed(calibration),
        classes=by_class,
        confusion=confusion_matrix(labels, predicted, labels=range(classes)),
    )


def _check(logits: Tensor, labels: Tensor) -> None:
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or logits.shape[0] < 1 or logits.shape[1] < 2:
        raise ValueError(f"logits {tuple(logits.shape)} and labels {tuple(labels.shape)} do not fit")
    if not 0 <= int(labels.min()) <= int(labels.max()) < logits.shape[1]:
        raise ValueError(f"labels are not all within 0..{logits.shape[1] - 1}")
    if not bool(torch.isfinite(logits).all()):
        raise ValueError("a logit is no finite number")


def _share(right: Tensor) -> Interval:
    return replace(wilson_interval(int(right.sum()), len(right)), method="Wilson")


def _reversed(interval: Interval) -> Interval:
    """Turn percentiles of the bootstrap around the value: what resampling adds, sampling has added."""
    low, high = 2 * interval.value - interval.high, 2 * interval.value - interval.low
    method = interval.method.replace("percentiles", "reversed percentiles")
    return Interval(interval.value, max(0.0, low), max(interval.value, high), method)


def _calibration_error(confidences: Tensor, right: Tensor) -> float:
    # Of the predicted class only, as in `multiclass_calibration_error`, which would want the whole matrix.
    from torchmetrics.functional.classification import binary_calibration_error

    return 100 * float(binary_calibration_error(confidences, right.long(), n_bins=CALIBRATION_BINS, norm="l1"))


def _by_class(predicted: Tensor, labels: Tensor, classes: int) -> tuple[ClassAccuracy, ...]:
    from sklearn.metrics import precision_recall_fscore_support

    columns = precision_recall_fscore_support(labels, predicted, labels=range(classes), zero_division=np.nan)
    right = torch.bincount(labels[predicted == labels], minlength=classes)
    figures = []
    for label, (precision, _, f1, images) in enumerate(zip(*columns, strict=True)):
        recall = replace(wilson_interval(int(right[label]), int(images)), method="Wilson") if images else None
        figures.append(
            ClassAccuracy(
                label=label,
                images=int(images),
                precision=None if np.isnan(precision) else 100 * float(precision),
                recall=recall,
                f1=100 * float(f1) if images else None,
            )
        )
    return tuple(figures)


class _Features:
    """What each image adds to the sums that all figures are made of.

    A resample is a number of times that each image occurs, so its sums are one product with a sparse matrix: thousands
    of resamples take less time than scikit-learn needs for a few.
    """

    def __init__(
        self,
        losses: NDArray[np.float64],
        confidences: NDArray[np.float64],
        predicted: NDArray[np.int64],
        labels: NDArray[np.int64],
        classes: int,
    ) -> None:
        from scipy.sparse import csr_array, hstack

        images = len(labels)
        right = (predicted == labels).astype(np.float64)
        edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
        bins = np.searchsorted(edges, confidences, side="right") - 1

        def one_hot(columns: NDArray[np.int64], values: NDArray[np.float64], width: int) -> Any:
            return csr_array((values, (np.arange(images), columns)), shape=(images, width))

        ones = np.ones(images)
        parts = [
            csr_array(losses[:, None]),
            one_hot(bins, confidences - right, CALIBRATION_BINS),
            one_hot(labels, right, classes),
            one_hot(labels, ones, classes),
            one_hot(predicted, ones, classes),
        ]
        self.images = images
        self.classes = classes
        self._transposed = hstack(parts).T.tocsr()

    def bootstrap(self, seed: int) -> NDArray[np.float64]:
        """Return the figures of each resample, of shape ``(RESAMPLES, 4)``."""
        random = np.random.default_rng(seed)
        drawn = (random.integers(self.images, size=self.images) for _ in range(RESAMPLES))
        return np.stack([self.figures(np.bincount(images, minlength=self.images)) for images in drawn])

    def figures(self, times: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return loss, calibration error, balanced accuracy and macro F1 with each image taken so many times."""
        loss, gaps, counts = np.split(self._transposed @ times, [1, 1 + CALIBRATION_BINS])
        right, images, answers = counts.reshape(3, self.classes)
        there = images > 0
        right, images, answers = right[there], images[there], answers[there]
        total = times.sum()
        return np.array(
            [
                loss[0] / total,
                100 * np.abs(gaps).sum() / total,
                100 * np.mean(right / images),
                100 * np.mean(2 * right / (images + answers)),
            ]
        )
