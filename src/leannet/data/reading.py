"""Decoding a whole split in threads, and what happens to images that cannot be decoded."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image

from leannet.data.split import Split
from leannet_runtime.cores import usable_cores
from leannet_runtime.errors import UserError
from leannet_runtime.images import DamagedImage

__all__ = ["BadImages", "Reading", "drop_damaged", "read_all"]

BadImages: TypeAlias = Literal["error", "skip"]

# Small enough for a smooth progress bar, large enough that handing out work costs nothing.
CHUNK = 64  # images


@dataclass(frozen=True)
class Reading:
    """How images are decoded.

    Args:
        bad_images: "error": one damaged image ends everything; "skip": damaged images are left out and counted.
        workers: Threads or processes that decode; by default as many as there are processors to use.
        progress: Called with the number of images decoded so far and the number of all.
    """

    bad_images: BadImages = "error"
    workers: int | None = None
    progress: Callable[[int, int], None] | None = None

    @property
    def worker_count(self) -> int:
        """How many workers decode; the processors this process may use are counted, not those of the machine."""
        if self.workers is not None:
            return max(self.workers, 1)
        return usable_cores()


def read_all(split: Split, use: Callable[[int, Image.Image], None], reading: Reading) -> dict[int, DamagedImage]:
    """Decode every image of a split once.

    Args:
        split: The images.
        use: Called with the position and the RGB picture, from several threads.
        reading: How many threads, and whom to tell.

    Returns:
        The positions of images that cannot be decoded, ascending, and why.
    """

    def read(positions: range) -> dict[int, DamagedImage]:
        damaged = {}
        for position in positions:
            try:
                with ExitStack() as scope:
                    use(position, split.read(position, scope))
            except DamagedImage as error:
                damaged[position] = error
        return damaged

    damaged: dict[int, DamagedImage] = {}
    done = 0
    with ThreadPoolExecutor(reading.worker_count) as pool:
        chunks = [range(begin, min(begin + CHUNK, len(split))) for begin in range(0, len(split), CHUNK)]
        tasks = {pool.submit(read, chunk): chunk for chunk in chunks}
        try:
            for task in as_completed(tasks):
                damaged |= task.result()
                done += len(tasks[task])
                if reading.progress:
                    reading.progress(done, len(split))
        except BaseException:  # a key press, or a defect: do not decode the rest first
            pool.shutdown(cancel_futures=True)
            raise
    return dict(sorted(damaged.items()))


def drop_damaged(
    split: Split, damaged: dict[int, DamagedImage], reading: Reading, name: str, class_names: tuple[str, ...]
) -> tuple[Split, tuple[str, ...]]:
    """Leave damaged images out of a split, if that is allowed.

    Args:
        split: The images, damaged ones among them.
        damaged: What `read_all` returned.
        reading: Its ``bad_images`` says whether to raise or to skip.
        name: Which split this is.
        class_names: Names of all classes.

    Returns:
        The sound images, and notes on what is missing now.

    Raises:
        UserError: An image is damaged and ``bad_images`` is "error", or nothing of a part or a training class is left.
    """
    if not damaged:
        return split, ()
    first = next(iter(damaged.values()))
    count = f"{len(damaged):,} of {len(split):,} images of the {name} part"
    if reading.bad_images == "error":
        raise DamagedImage(first.what, f"{first.why} ({count} cannot be read)")
    kept = split.take(np.setdiff1d(np.arange(len(split)), list(damaged)))
    notes = [f"skipped {count} that cannot be read, the first: {first.what.removeprefix('cannot read ')}: {first.why}"]
    lost = [class_names[label] for label in sorted(set(split.labels.tolist()) - set(kept.labels.tolist()))]
    if lost and (name == "train" or not len(kept)):
        why = f"no image of {', '.join(lost)} can be read ({first.what}: {first.why})"
        raise UserError(f"cannot use the {name} part", why, "Replace these images, or remove the class")
    if lost:
        notes.append(f"the {name} part has no images of {', '.join(lost)} that can be read")
    return kept, tuple(notes)
