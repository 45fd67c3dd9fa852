"""From a split to pixels of one size: decoded once and kept in memory, or decoded anew in each epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from leannet.data.reading import drop_damaged, read_all
from leannet.data.source import Source
from leannet.data.split import Split
from leannet_runtime.images import DamagedImage
from leannet_runtime.preprocessing import Preprocessing

__all__ = [
    "MEMORY_LIMIT",
    "CachedPixels",
    "Pixels",
    "StreamedPixels",
    "load_pixels",
    "training_storage",
    "typical_side",
]

MEMORY_LIMIT = 2 * 2**30  # bytes

# How many images, evenly spaced over the split, tell whether it holds photographs or small pictures.
PROBES = 32


class Pixels(Protocol):
    """The images of a split as squares of one size."""

    @property
    def split(self) -> Split:
        """The images and labels that these are; damaged ones are left out."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out."""
        ...

    def __len__(self) -> int: ...

    def batches(self, order: list[Tensor]) -> Iterator[Tensor]:
        """Yield uint8 images ``(B, 3, S, S)`` in the channels-last memory format, for each tensor of positions."""
        ...


@dataclass(frozen=True, eq=False)
class CachedPixels:
    """Pixels in memory.

    Args:
        images: uint8 of shape ``(N, 3, S, S)``, in the channels-last memory format.
        split: The images that these are, in the same order.
        notes: What was left out.
    """

    images: Tensor
    split: Split
    notes: tuple[str, ...] = ()

    @property
    def labels(self) -> Tensor:
        """Labels, int64 of shape ``(N,)``."""
        return torch.from_numpy(self.split.labels)

    def __len__(self) -> int:
        return len(self.split)

    def batches(self, order: list[Tensor]) -> Iterator[Tensor]:
        """Yield the images at each tensor of positions."""
        rows = self.images.permute(0, 2, 3, 1)  # contiguous: selecting a row is one copy
        for positions in order:
            yield rows.index_select(0, positions).permute(0, 3, 1, 2)


@dataclass(frozen=True, eq=False)
class StreamedPixels:
    """Pixels decoded by worker processes whenever they are needed, for sets that do not fit into memory.

    Args:
        preprocessing: What makes a square of a picture.
        split: The images.
        workers: How many processes decode; 0 decodes in this one.
        notes: What was left out.
    """

    preprocessing: Preprocessing
    split: Split
    workers: int
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.split)

    def batches(self, order: list[Tensor]) -> Iterator[Tensor]:
        """Yield the images at each tensor of positions."""
        loader = DataLoader(
            _Squares(self.split, self.preprocessing),
            batch_sampler=[positions.tolist() for positions in order],
            num_workers=self.workers,
            collate_fn=_stack,
            generator=torch.Generator(),  # else it would draw from the global random numbers
        )
        yield from loader


class _Squares(Dataset[Any]):
    def __init__(self, split: Split, preprocessing: Preprocessing) -> None:
        self.split = split
        self.preprocessing = preprocessing

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        return self.preprocessing.pixels(self.split.read(index))


def _stack(squares: list[NDArray[np.uint8]]) -> Tensor:
    return torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2)


def load_pixels(
    source: Source, split: str, preprocessing: Preprocessing, *, memory_limit: int = MEMORY_LIMIT
) -> CachedPixels | StreamedPixels:
    """Decode every image of a split once, in threads; keep the pixels where they fit into memory.

    Args:
        source: Where the images are; its ``reading`` says what happens to damaged ones.
        split: "train", "validation" or "test".
        preprocessing: What makes a square of a picture. For evaluation that of the network, whose
            `Preprocessing.pixels` is then exactly what is stored; for training `training_storage`.
        memory_limit: Bytes of pixels above which images are streamed instead.

    Raises:
        UserError: An image is damaged and must not be skipped, or a part or a training class has no sound image.
    """
    images = source.splits[split]
    side = preprocessing.img_size
    keep = len(images) * side * side * 3 <= memory_limit
    store = np.empty((len(images) if keep else 0, side, side, 3), np.uint8)

    def use(position: int, image: Image.Image) -> None:
        if keep:
            store[position] = preprocessing.pixels(image)

    damaged = read_all(images, use, source.reading)
    kept, notes = drop_damaged(images, damaged, source.reading, split, source.class_names)
    if not keep:
        return StreamedPixels(preprocessing, kept, source.reading.worker_count, notes)
    sound = np.delete(store, list(damaged), axis=0) if damaged else store
    return CachedPixels(torch.from_numpy(sound).permute(0, 3, 1, 2), kept, notes)


def typical_side(split: Split) -> int:
    """Return the median of the shorter sides of a few images, in pixels; 0 if none of them can be decoded."""
    sides = []
    for position in np.linspace(0, len(split) - 1, min(PROBES, len(split))).astype(int):
        try:
            sides.append(min(split.read(position).size))
        except DamagedImage:  # found and reported when the whole split is read
            continue
    return int(np.median(sides)) if sides else 0


def training_storage(split: Split, preprocessing: Preprocessing) -> Preprocessing:
    """Return how training images are stored, before augmentation: the middle square, nothing normalised.

    Small pictures, whose shorter side is mostly not above ``img_size``, are stored at ``img_size``; photographs with a
    margin of one seventh, from which random crops are cut.

    Args:
        split: The training images; a few of them are decoded to see their size.
        preprocessing: That of the network.
    """
    photographs = typical_side(split) > preprocessing.img_size
    side = round(preprocessing.img_size * 8 / 7) if photographs else preprocessing.img_size
    return replace(preprocessing, img_size=side, crop_pct=1.0)
