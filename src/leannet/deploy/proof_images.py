"""The real images on which an exported file is compared with its network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from leannet.data import SPLIT_SEED, Source, open_source
from leannet.training.runs import open_run_source, recorded_data
from leannet_runtime import DamagedImage, UserError
from leannet_runtime.preprocessing import LONGEST

__all__ = ["ProofImages", "choose_images", "odd_images"]

EMBEDDED = "digits"
"""What stands in where nobody says what the network was trained on: images that come with scikit-learn."""

_ODD_SIZES = ((1, 1), (1, LONGEST), (LONGEST, 1), (2, 3), (1, 40), (40, 1))


@dataclass(frozen=True, eq=False)
class ProofImages:
    """Decoded images, and where they come from.

    Args:
        images: RGB.
        data: Name of the data.
        parts: The parts that they are from.
        notes: What the user should know.
    """

    images: tuple[Image.Image, ...]
    data: str
    parts: tuple[str, ...]
    notes: tuple[str, ...] = ()


def choose_images(folder: Path, data: str | None, count: int) -> ProofImages:
    """Take images evenly from the test part, then from the validation and the training part if there are too few.

    Args:
        folder: The model folder.
        data: See `leannet.data.open_source`; by default the data of the folder's run, else the digits.
        count: How many.

    Raises:
        UserError: The data cannot be opened, do not fit the network, or no image can be read.
    """
    notes: list[str] = []
    if data is None and recorded_data(folder) is None:
        notes.append(f"no run beside {folder} says on what it was trained: compared on {EMBEDDED}; pass --check-data")
        source = open_source(EMBEDDED, seed=SPLIT_SEED)
    else:
        source = open_run_source(folder, data)
    found: list[Image.Image] = []
    parts, damaged = [], 0
    for part, index in _places(source, count):
        if len(found) == count:
            break
        try:
            found.append(source.splits[part].read(index))
        except DamagedImage:
            damaged += 1
            continue
        if part not in parts:
            parts.append(part)
    if not found:
        raise UserError(f"no image of {source.location} can be read", "all are damaged", "Pass other --check-data")
    if damaged:
        notes.append(f"{damaged:,} images cannot be read and were left out")
    if len(found) < count:
        notes.append(f"{source.location} has {len(found):,} images, not {count:,}")
    return ProofImages(tuple(found), source.name, tuple(parts), tuple(notes))


def _places(source: Source, count: int) -> Iterator[tuple[str, int]]:
    """Yield parts and positions: first some that lie evenly in a part, then the rest of it."""
    for part in ("test", "validation", "train"):
        if part in source.splits:
            size = len(source.splits[part])
            even = np.unique(np.linspace(0, size - 1, min(count, size)).astype(int)).tolist()
            yield from ((part, index) for index in even)
            taken = set(even)
            yield from ((part, index) for index in range(size) if index not in taken)


def odd_images(images: tuple[Image.Image, ...], img_size: int, count: int) -> list[Image.Image]:
    """Make pictures of odd sizes from real ones: parts of them, stretched or shrunk, the same in each call.

    Args:
        images: Real images.
        img_size: Side that the network sees; the new sizes lie around it.
        count: How many.
    """
    random = np.random.default_rng(0)
    sizes = list(_ODD_SIZES[:count])
    while len(sizes) < count:
        short = int(random.integers(1, 2 * img_size + 2))
        size = (short, int(short * random.uniform(1, 3)))
        sizes.append(size if random.random() < 0.5 else size[::-1])
    return [_stretched(images[number % len(images)], size, random) for number, size in enumerate(sizes)]


def _stretched(image: Image.Image, size: tuple[int, int], random: np.random.Generator) -> Image.Image:
    """Resize a random part of an image, at least a third of each side."""
    part = [max(1.0, side * random.uniform(1 / 3, 1)) for side in image.size]
    left, top = (random.uniform(0, side - length) for side, length in zip(image.size, part, strict=True))
    box = (left, top, min(left + part[0], image.width), min(top + part[1], image.height))
    return image.resize(size, Image.Resampling.BICUBIC, box=box)
