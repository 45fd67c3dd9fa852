"""What came of the ladder: the rungs that were tried, and the one that was taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from leannet.deploy.int8.images import LabelledImages
from leannet.deploy.int8.ladder import Rung
from leannet.measure import Difference, Interval

__all__ = ["DropTooLarge", "Quantised", "Tried"]


@dataclass(frozen=True)
class Tried:
    """A rung that was tried."""

    rung: Rung
    float_layers: tuple[str, ...]
    """Layers with weights that stayed in float."""

    top1: Interval
    """Of the held-out images, percent."""

    difference: Difference
    """Quantised less float, on the same images."""

    agreement: float
    """Percent of the held-out images with the same best class as in float."""

    size: float
    """Share of the float graph's bytes, the network alone."""

    latency: Interval
    """Share of the float graph's time: one image, processor time of one thread, in interleaved rounds."""

    float_milliseconds: float
    milliseconds: float

    @property
    def drop(self) -> float:
        """Points of top-1 accuracy that are lost."""
        return -self.difference.points.value

    def record(self) -> dict[str, Any]:
        """Return what stands in the file's metadata."""
        points = self.difference.points
        return {
            "rung": self.rung.name,
            "per_channel": self.rung.per_channel,
            "gates": self.rung.gates,
            "ranges": self.rung.ranges,
            "float_layers": list(self.float_layers),
            "top1": self.top1.value,
            "drop": {"value": self.drop, "low": -points.high, "high": -points.low, "method": points.method},
            "agreement": self.agreement,
            "size_ratio": self.size,
            "latency_ratio": {
                "value": self.latency.value,
                "low": self.latency.low,
                "high": self.latency.high,
                "method": self.latency.method,
            },
        }


@dataclass(frozen=True, eq=False)
class Quantised:
    """What was tried; the last is what was taken, if it was."""

    float_top1: Interval
    """Of the float network on the held-out images, percent."""

    tried: tuple[Tried, ...]
    calibration: LabelledImages
    held_out: LabelledImages
    reduce_range: bool
    max_drop: float
    notes: tuple[str, ...] = ()
    """Which goal of size and speed is missed, and what is in the way."""

    @property
    def taken(self) -> Tried:
        """The rung in the file."""
        return self.tried[-1]

    def record(self) -> dict[str, Any]:
        """Return what stands under ``int8`` in the file's metadata."""
        return {
            **self.taken.record(),
            "float_top1": self.float_top1.value,
            "max_drop": self.max_drop,
            "calibration": {"images": len(self.calibration), "data": self.calibration.data, "part": "train"},
            "judged_on": {
                "images": len(self.held_out),
                "data": self.held_out.data,
                "part": self.held_out.part,
            },
            "reduce_range": self.reduce_range,
            "notes": list(self.notes),
        }

    def accuracy(self) -> dict[str, Any]:
        """Return the accuracy of the quantised network, as it stands in the metadata of a file."""
        top1 = self.taken.top1
        return {
            **{"value": top1.value, "low": top1.low, "high": top1.high},
            **{"split": self.held_out.part, "data": self.held_out.data, "images": len(self.held_out)},
        }


class DropTooLarge(Exception):  # noqa: N818 -- it is no error of the program
    """No rung of the ladder keeps the accuracy.

    Args:
        tried: What was tried.
    """

    def __init__(self, tried: Quantised) -> None:
        best = min(tried.tried, key=lambda each: each.drop)
        super().__init__(
            f"no form loses {tried.max_drop:g} points of accuracy at most and agrees as far as needed; the best loses "
            f"{best.drop:.2f} and agrees on {best.agreement:.1f} % of the images"
        )
        self.tried = tried
