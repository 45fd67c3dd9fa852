"""A split: images that lie somewhere, in an order, each with its label; and how one split is made into two."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from leannet_runtime.errors import UserError
from leannet_runtime.images import decode_image

__all__ = ["SPLITS", "SPLIT_WORDS", "ImageList", "NamedImages", "Split", "some", "split_word", "stratified_split"]

# The words of `datasets` for the three splits.
SPLIT_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
SPLITS = tuple(SPLIT_WORDS)


class ImageList(Protocol):
    """Encoded images in a fixed order, wherever they lie."""

    def __len__(self) -> int: ...

    def encoded(self, index: int) -> Path | bytes | Image.Image:
        """Return what `decode_image` takes."""
        ...

    def identifier(self, index: int) -> str:
        """Return a name that stays the same on another machine."""
        ...

    def sizes(self) -> NDArray[np.int64]:
        """Return how many bytes each image takes, encoded; 0 where there is none."""
        ...

    def place(self, index: int) -> tuple[Path, int] | None:
        """Return file and row, or None for what lies in no file whose changes could be noticed."""
        ...


class NamedImages(NamedTuple):
    """Images and the class name of each, before classes are numbered."""

    images: ImageList
    names: NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class Split:
    """Some rows of an image list, with labels.

    Args:
        images: Where the images lie.
        rows: Which of them, in the order of this split; shape ``(N,)``.
        labels: The class of each as an index into the class names; int64 of shape ``(N,)``.
    """

    images: ImageList
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, index: int, scope: ExitStack | None = None) -> Image.Image:
        """Decode one image to 8-bit RGB.

        Args:
            index: Its position in this split.
            scope: Closed when the image is done with; see `decode_image`.

        Raises:
            DamagedImage: It cannot be decoded.
        """
        return decode_image(self.images.encoded(int(self.rows[index])), name=self.identifier(index), scope=scope)

    def identifier(self, index: int) -> str:
        """Return the path relative to the folder ("train/cat/1.jpg"), or file and row ("train.parquet row 17")."""
        return self.images.identifier(int(self.rows[index]))

    def identifiers(self) -> list[str]:
        """Return all identifiers in order."""
        return [self.identifier(index) for index in range(len(self))]

    def sizes(self) -> NDArray[np.int64]:
        """Return how many bytes each image takes, encoded; shape ``(N,)``."""
        return self.images.sizes()[self.rows]

    def place(self, index: int) -> tuple[Path, int] | None:
        """Return the file in which an image lies, and the row of the file; None if it lies in no file."""
        return self.images.place(int(self.rows[index]))

    def take(self, positions: NDArray[np.int64]) -> Split:
        """Return the split that has only these positions, in this order."""
        return Split(self.images, self.rows[positions], self.labels[positions])


def split_word(name: str) -> str | None:
    """Return the split that a folder or file name stands for: "Val" is "validation", "photos" is None."""
    return next((split for split, words in SPLIT_WORDS.items() if name.lower() in words), None)


def some(names: Sequence[str], most: int = 10, count: int | None = None) -> str:
    """List names for a message, the first ones where there are many ("cat, dog and 98 more").

    Args:
        names: The names, or the first of them.
        most: How many are shown.
        count: How many there are, if not all are given.
    """
    count = len(names) if count is None else count
    return ", ".join(names[:most]) + (f" and {count - most:,} more" if count > most else "")


def stratified_split(
    split: Split, class_names: Sequence[str], *, seed: int, share: float, keep_single: bool = False
) -> tuple[Split, Split]:
    """Divide a split into two with the same mixture of classes.

    Within a class, images are ordered by a hash of seed and identifier, and the first ones are held out. So the result
    depends neither on the order of the files, nor on a library's random numbers, and an added image moves few others.

    Args:
        split: The images.
        class_names: Names of the classes, for the error.
        seed: Another seed gives another division.
        share: Share of each class that is held out; at least one image, and at least one stays.
        keep_single: Whether the only image of a class stays, instead of being an error.

    Returns:
        The part that stays and the part that is held out, both in the order of `split`.

    Raises:
        UserError: A class has one image only, and `keep_single` is not set.
    """
    held_out = np.zeros(len(split), bool)
    keys = np.array([hashlib.sha256(f"{seed} {name}".encode()).hexdigest() for name in split.identifiers()])
    for label in np.unique(split.labels):
        members = np.flatnonzero(split.labels == label)
        if len(members) < 2 and keep_single:
            continue
        if len(members) < 2:
            raise UserError(
                f"cannot split class {class_names[label]!r}",
                f"it has one image only ({split.identifier(members[0])}), and training and test need one each",
                "Add images of this class, or remove it",
            )
        count = min(max(round(share * len(members)), 1), len(members) - 1)
        held_out[members[np.argsort(keys[members])[:count]]] = True
    return split.take(np.flatnonzero(~held_out)), split.take(np.flatnonzero(held_out))
