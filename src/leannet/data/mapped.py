"""Pixels in a file that is mapped into memory, for sets that do not fit into it."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from leannet.data.reading import Reading, read_all
from leannet.data.split import Split
from leannet.data.verdicts import RULE, marks_of
from leannet_runtime.errors import UserError
from leannet_runtime.files import cache_folder, write_file
from leannet_runtime.images import DamagedImage
from leannet_runtime.preprocessing import Preprocessing

__all__ = ["DISK_LIMIT", "MappedPixels", "map_pixels"]

DISK_LIMIT = 256 * 2**30  # bytes

# What must stay free on the disk, for everything else that wants to write.
DISK_MARGIN = 4 * 2**30  # bytes

# A file under a temporary name to which nothing was written for so long was left behind by a killed process.
ABANDONED = 3600  # seconds


@dataclass(frozen=True, eq=False)
class MappedPixels:
    """Pixels in a file; the system keeps in memory what of it fits.

    Args:
        path: The file.
        rows: Its content, uint8 of shape ``(N, S, S, 3)``.
        split: The images that these are, in the same order.
        notes: What was left out.
    """

    path: Path
    rows: NDArray[np.uint8]
    split: Split
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.split)

    def batches(self, order: list[Tensor]) -> Iterator[Tensor]:
        """Yield the images at each tensor of positions."""
        for positions in order:
            yield torch.from_numpy(np.asarray(self.rows[positions.numpy()])).permute(0, 3, 1, 2)


def map_pixels(split: Split, preprocessing: Preprocessing, reading: Reading, *, limit: int) -> MappedPixels | None:
    """Write the pixels of a split to a file in the cache folder, or find the file that an earlier run wrote.

    The file goes by the path, size and time of change of each image, and by the preprocessing.

    Args:
        split: Sound images.
        preprocessing: What makes a square of a picture.
        reading: How many threads decode, and whom to tell.
        limit: Most bytes that the file may take.

    Returns:
        None where the file is too large for the limit or for the disk, or cannot be written.

    Raises:
        DamagedImage: An image cannot be decoded any more.
    """
    shape = (len(split), preprocessing.img_size, preprocessing.img_size, 3)
    path = cache_folder() / "pixels" / f"{_key(split, preprocessing)}.u8"
    size = int(np.prod(shape))
    if size > limit:
        return None
    try:
        if not path.is_file() or path.stat().st_size != size:
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(path.parent)
            if shutil.disk_usage(path.parent).free < size + DISK_MARGIN:
                return None
            write_file(path, lambda temporary: _write(temporary, split, preprocessing, reading))
        return MappedPixels(path, np.memmap(path, np.uint8, "r", shape=shape), split)
    except DamagedImage:
        raise
    except (OSError, UserError):
        return None


def _write(path: Path, split: Split, preprocessing: Preprocessing, reading: Reading) -> None:
    lock = threading.Lock()
    # Written as a file, not through the map: on a full disk, writing to a map would kill the process.
    with path.open("r+b") as file:

        def use(position: int, image: Image.Image) -> None:
            square = preprocessing.pixels(image)
            with lock:
                file.seek(position * square.nbytes)
                file.write(square.tobytes())

        damaged = read_all(split, use, reading)
    if damaged:
        raise next(iter(damaged.values()))


def _key(split: Split, preprocessing: Preprocessing) -> str:
    digest = hashlib.sha256(f"{RULE} {preprocessing.img_size} {preprocessing.crop_pct}".encode())
    digest.update(preprocessing.interpolation.encode())
    for index, (mark, size) in enumerate(zip(marks_of(split), split.sizes(), strict=True)):
        digest.update(b"".join(mark) if mark else f"{split.identifier(index)}\0{size}\n".encode())
    return digest.hexdigest()[:32]


def _remove_abandoned(folder: Path) -> None:
    for path in folder.glob(".*"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < time.time() - ABANDONED:
                path.unlink()
