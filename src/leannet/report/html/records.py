"""What a report tells: the records of runs, whatever verb wrote them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leannet.measure import Interval

__all__ = ["Answers", "Curve", "Judged", "NetworkRecord", "Picture", "RunRecords", "TimedRow", "Timing"]


@dataclass(frozen=True)
class Judged:
    """The images that networks were judged on. What was judged on the same may stand in one table."""

    data: str
    part: str
    images: int
    classes: tuple[str, ...]

    def title(self) -> str:
        """Say it in words."""
        return f"{self.data}, {self.part} part: {self.images:,} images of {len(self.classes):,} classes"


@dataclass(frozen=True)
class Timing:
    """The time of one call in milliseconds, and under which circumstances."""

    circumstances: str
    median: Interval | None
    """None where no interval was recorded."""

    median_ms: float
    p90_ms: float


@dataclass(frozen=True)
class NetworkRecord:
    """A network: how well it answers and what it costs. None is what no record says."""

    name: str
    run: Path
    """The run folder that it is from."""

    top1: Interval | None
    """Percent."""

    parameters: int | None
    macs: int | None
    seeds: tuple[int, ...] = ()
    images_per_second: float | None = None
    """Of training."""

    timings: tuple[Timing, ...] = ()


@dataclass(frozen=True)
class Curve:
    """One training, epoch by epoch."""

    network: str
    seed: int | None
    epochs: tuple[float, ...]
    loss: tuple[float | None, ...]
    """Of training."""

    validation_top1: tuple[float | None, ...]
    """Percent; empty where nothing was judged in between."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What a network answered to each image; labels are indices into the classes that it was judged on."""

    network: str
    seed: int | None
    images: tuple[str, ...]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    probability: NDArray[np.float64]
    """Of the answered class, 0..1."""

    @property
    def top1(self) -> float:
        """Percent of the images that are answered rightly."""
        return 100 * float((self.predicted == self.labels).mean())


@dataclass(frozen=True)
class Picture:
    """A small copy of an image on which networks disagree."""

    image: str
    file: Path


@dataclass(frozen=True)
class TimedRow:
    """A network in one table of a bench."""

    network: str
    parameters: int
    macs: int
    timing: Timing
    images_per_second: float
    against: str
    """Its ratio to the reference in words; empty for the reference."""

    notes: str
    """On all networks of its table."""


@dataclass(frozen=True)
class RunRecords:
    """All that a run folder says."""

    folder: Path
    verb: str
    provenance: tuple[tuple[str, str], ...]
    """What is known of how it was made: terms and texts."""

    judged: Judged | None = None
    fingerprint: str | None = None
    """Of the data."""

    networks: tuple[NetworkRecord, ...] = ()
    curves: tuple[Curve, ...] = ()
    answers: tuple[Answers, ...] = ()
    pictures: tuple[Picture, ...] = ()
    sheet: Path | None = None
    """A picture of the most confidently wrong images."""

    timed: tuple[TimedRow, ...] = ()
    missing: tuple[str, ...] = ()
    """What was not recorded."""
