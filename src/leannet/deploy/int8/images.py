"""Images for calibration, which the network has learned from, and images to judge by, which it has not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leannet.data import Source
from leannet.training.runs import open_run_source, recorded_data, recorded_data_are_here
from leannet_runtime import DamagedImage, Preprocessing, UserError

__all__ = ["LabelledImages", "calibration_and_held_out"]

MOST_JUDGED = 5_000
"""Of the held-out images: they leave about a quarter of a point open where 3 % of the answers change."""

FEWEST_JUDGED = 200

_MEMORY = 2**29  # bytes, for the pixels of all held-out images


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images as the network sees them, with their classes.

    Args:
        pixels: uint8 ``(N, S, S, 3)``.
        labels: int64 ``(N,)``.
        data: Name of the data.
        part: "train", "validation" or "test".
        preprocessing: How they were prepared.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    data: str
    part: str
    preprocessing: Preprocessing

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, size: int) -> Iterator[NDArray[np.float32]]:
        """Yield what the network takes, some images at a time."""
        for begin in range(0, len(self), size):
            yield self.preprocessing.normalise(self.pixels[begin : begin + size])


def calibration_and_held_out(
    folder: Path, data: str | None, preprocessing: Preprocessing, count: int
) -> tuple[LabelledImages, LabelledImages]:
    """Take training images to calibrate on, and images of the test part (else the validation part) to judge by.

    They lie evenly in their parts. Of the held-out ones there are at most 5,000, and 512 MiB of pixels.

    Args:
        folder: The model folder.
        data: See `leannet.data.open_source`; by default the data of the folder's run. Training images are always those
            of the run, if its data are here.
        preprocessing: How images are prepared.
        count: Number of calibration images.

    Raises:
        UserError: Nobody says what the data are, a part is missing or too small, or no image can be read.
    """
    if data is None and recorded_data(folder) is None:
        why = f"no run beside {folder} says on what the network was trained"
        raise UserError("cannot calibrate for --int8", why, "Pass --check-data with its training and test images")
    judged_source = open_run_source(folder, data)
    source = open_run_source(folder) if recorded_data_are_here(folder) else judged_source
    if "train" not in source.splits:
        why = f"{source.location} has no training part, and images that judge must not calibrate"
        raise UserError("cannot calibrate for --int8", why, "Pass --check-data with one")
    part = next((name for name in ("test", "validation") if name in judged_source.splits), None)
    most = min(MOST_JUDGED, _MEMORY // (3 * preprocessing.img_size**2))
    held_out = None if part is None else _take(judged_source, part, preprocessing, most)
    if held_out is None or len(held_out) < FEWEST_JUDGED:
        found = 0 if held_out is None else len(held_out)
        why = f"{judged_source.location} has {found:,} held-out images, and judging 8 bits needs {FEWEST_JUDGED}"
        raise UserError("cannot judge --int8", why, "Pass --check-data with more, or export without --int8")
    return _take(source, "train", preprocessing, count), held_out


def _take(source: Source, part: str, preprocessing: Preprocessing, count: int) -> LabelledImages:
    split = source.splits[part]
    places = np.unique(np.linspace(0, len(split) - 1, min(count, len(split))).astype(int)).tolist()
    pixels, labels = [], []
    for place in places:
        try:
            pixels.append(preprocessing.pixels(split.read(place)))
        except DamagedImage:
            continue
        labels.append(int(split.labels[place]))
    if not pixels:
        raise UserError(f"no image of the {part} part of {source.location} can be read", "all are damaged", "Repair it")
    return LabelledImages(np.stack(pixels), np.array(labels, np.int64), source.name, part, preprocessing)
