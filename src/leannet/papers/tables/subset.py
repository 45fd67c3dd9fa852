"""The images of a budget: fewer than there are, written once so that everything reads the same ones."""

from __future__ import annotations

import functools
import io
from pathlib import Path

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from PIL import Image

from leannet.data import Source, Split
from leannet_runtime.files import make_folder, write_file

__all__ = ["first_of_each_class", "write_subset"]


def first_of_each_class(split: Split, count: int | None) -> Split:
    """Return the first images of each class in equal shares, in the order of the split.

    Args:
        split: The images.
        count: How many, about: the share of a class is rounded up, and a class may have fewer. All if None.
    """
    if count is None or count >= len(split):
        return split
    classes = np.unique(split.labels)
    share = -(-count // len(classes))
    kept = np.sort(np.concatenate([np.flatnonzero(split.labels == label)[:share] for label in classes]))
    return split.take(kept)


def write_subset(source: Source, folder: Path, train_images: int | None, test_images: int | None) -> None:
    """Write ``train.parquet`` and ``test.parquet`` with the images of a budget, encoded as they were.

    Args:
        source: With a training and a test part.
        folder: Where.
        train_images: How many to train on; all if None.
        test_images: How many to judge on; all if None.

    Raises:
        UserError: It cannot be written.
    """
    make_folder(folder)
    for part, count in (("train", train_images), ("test", test_images)):
        split = first_of_each_class(source.splits[part], count)
        encoded = [_encoded(split.images.encoded(int(row))) for row in split.rows]
        names = [source.class_names[label] for label in split.labels]
        table = pa.table({"image": pa.array(encoded, pa.binary()), "label": names})
        write_file(folder / f"{part}.parquet", functools.partial(pq.write_table, table))


def _encoded(image: Path | bytes | Image.Image) -> bytes:
    if isinstance(image, bytes):
        return image
    if isinstance(image, Path):
        return image.read_bytes()
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
