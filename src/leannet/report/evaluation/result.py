"""What an evaluation came to."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from leannet.data import Source, Split
from leannet.early_exit import ExitSummary
from leannet.measure import Accuracy, Difference, Predictions
from leannet.training import SavedNetwork

__all__ = ["UNITS", "Comparison", "EvaluationResult", "figures_of"]

UNITS = {
    "top1": "%",
    "top5": "%",
    "balanced_accuracy": "%",
    "macro_f1": "%",
    "loss": "nats",
    "calibration_error": "%",
}
"""The figures of an evaluation, in the order in which they are shown."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """A second network, judged on the same images."""

    network: SavedNetwork
    accuracy: Accuracy
    predictions: Predictions
    """Numbered by the classes of the first network."""

    difference: Difference
    """The second network less the first one."""

    sentence: str
    """Whether one is better."""


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """What an evaluation came to."""

    network: SavedNetwork
    source: Source
    split_name: str
    split: Split
    """The images that were judged."""

    skipped: int
    """Images of the split that cannot be read and were left out."""

    class_names: tuple[str, ...]
    accuracy: Accuracy
    predictions: Predictions
    comparison: Comparison | None
    notes: tuple[str, ...]
    exits: ExitSummary | None = None
    """What the exits came to, of a network that has some."""

    def as_dict(self) -> dict[str, Any]:
        """Return the content of ``results.json``."""
        return {
            "model": self.network.describe(),
            "data": {
                "name": self.source.name,
                "location": self.source.location,
                "fingerprint": self.source.fingerprint,
                "split": self.split_name,
                "images": len(self.split),
                "skipped": self.skipped,
                "classes": list(self.class_names),
                "classes_without_images": [self.class_names[label] for label in self.accuracy.without_images],
                "notes": list(self.notes),
            },
            "figures": figures_of(self.accuracy),
            "early_exit": None if self.exits is None else self.exits.as_dict(),
            "per_class": [
                {"class": self.class_names[figures.label], **asdict(figures)} for figures in self.accuracy.classes
            ],
            "comparison": None if self.comparison is None else _compared(self.comparison),
        }


def figures_of(accuracy: Accuracy) -> dict[str, dict[str, Any]]:
    """Return the figures as records: value, low, high, method, unit; those that do not apply are left out."""
    intervals = {name: getattr(accuracy, name) for name in UNITS}
    return {name: {**asdict(interval), "unit": UNITS[name]} for name, interval in intervals.items() if interval}


def _compared(comparison: Comparison) -> dict[str, Any]:
    difference = comparison.difference
    return {
        "model": comparison.network.describe(),
        "figures": figures_of(comparison.accuracy),
        "top1_difference": {**asdict(difference.points), "unit": "points"},
        "only_first_correct": difference.only_first,
        "only_second_correct": difference.only_second,
        "p_value": difference.p_value,
        "test": "McNemar, exact, two-sided",
        "difference_shown": difference.shown,
        "sentence": comparison.sentence,
    }
