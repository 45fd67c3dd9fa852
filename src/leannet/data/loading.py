"""From a split to pixels of one size: in memory, in a file that is mapped into memory, or decoded in each epoch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow  # type: ignore[import-untyped]
import torch
from PIL import Image

from leannet.data.mapped import DISK_LIMIT, MappedPixels, map_pixels
from leannet.data.pixels import CachedPixels, StreamedPixels
from leannet.data.reading import drop_damaged, read_all
from leannet.data.scan import find_damaged
from leannet.data.source import Source
from leannet.data.split import Split
from leannet_runtime.images import DamagedImage
from leannet_runtime.preprocessing import Preprocessing

__all__ = ["MEMORY_LIMIT", "load_pixels", "training_storage", "typical_side"]

MEMORY_LIMIT = 2 * 2**30  # bytes

# How many images, evenly spaced over the split, tell whether it holds photographs or small pictures.
PROBES = 32


def load_pixels(
    source: Source,
    split: str,
    preprocessing: Preprocessing,
    *,
    memory_limit: int = MEMORY_LIMIT,
    disk_limit: int = DISK_LIMIT,
) -> CachedPixels | MappedPixels | StreamedPixels:
    """Decode every image of a split once, in threads; keep the pixels in memory, or else on disk, where they fit.

    All three kinds of storage give equal batches. A file of pixels is taken by the next run instead of decoding again.

    Args:
        source: Where the images are; its ``reading`` says what happens to damaged ones.
        split: "train", "validation" or "test".
        preprocessing: What makes a square of a picture. For evaluation that of the network, whose
            `Preprocessing.pixels` is then exactly what is stored; for training `training_storage`.
        memory_limit: Bytes of pixels above which they are kept on disk instead, 2 GiB by default.
        disk_limit: Bytes of pixels above which images are streamed instead, and so they are where the disk has no room
            for them with a margin; 256 GiB by default.

    Raises:
        UserError: An image is damaged and must not be skipped, or a part or a training class has no sound image.
    """
    images = source.splits[split]
    if len(images) * preprocessing.img_size**2 * 3 <= memory_limit:
        return _in_memory(source, split, preprocessing)
    damaged = find_damaged(images, source.reading)
    kept, notes = drop_damaged(images, damaged, source.reading, split, source.class_names)
    mapped = map_pixels(kept, preprocessing, source.reading, limit=disk_limit)
    if mapped is None:
        return StreamedPixels(preprocessing, kept, source.reading.worker_count, notes)
    size = f"{mapped.path.stat().st_size / 2**30:.1f} GiB"
    place = f"the pixels of the {split} part are kept for the next run in {mapped.path} ({size})"
    return replace(mapped, notes=(*notes, place))


def _in_memory(source: Source, split: str, preprocessing: Preprocessing) -> CachedPixels:
    images = source.splits[split]
    side = preprocessing.img_size
    store = np.empty((len(images), side, side, 3), np.uint8)

    def use(position: int, image: Image.Image) -> None:
        store[position] = preprocessing.pixels(image)

    damaged = read_all(images, use, source.reading)
    pyarrow.default_memory_pool().release_unused()  # what encoded images passed through: it is not needed again
    kept, notes = drop_damaged(images, damaged, source.reading, split, source.class_names)
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
