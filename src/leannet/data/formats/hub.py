"""Data sets of the Hugging Face hub, and parquet files too large for memory, both through `datasets`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leannet.data.formats.parquet import IMAGE_COLUMNS, LABEL_COLUMNS, class_names_of, encoded_sizes
from leannet.data.split import NamedImages, split_word
from leannet_runtime.errors import UserError
from leannet_runtime.images import DamagedImage

__all__ = ["HubImages", "find_hub", "find_large_parquet"]


class HubImages:
    """Images of a `datasets.Dataset`, still encoded.

    The rows stay in the file that `datasets` maps into memory; a worker process opens it again instead of copying it.

    Args:
        dataset: A data set whose image column is cast to ``Image(decode=False)``.
        column: The name of that column.
        name: The name of the split, for identifiers.
    """

    def __init__(self, dataset: Any, column: str, name: str) -> None:
        self.dataset = dataset
        self.column = column
        self.name = name

    def __len__(self) -> int:
        return len(self.dataset)

    def encoded(self, index: int) -> bytes | Path:
        """Return the bytes of the image file, or its path where the data set holds only that."""
        value = self.dataset[index][self.column] or {}
        if value.get("bytes"):
            return value["bytes"]
        if value.get("path"):
            return Path(value["path"])
        raise DamagedImage(f"cannot read {self.identifier(index)}", "the row holds no image")

    def identifier(self, index: int) -> str:
        """Return split and row ("train row 17")."""
        return f"{self.name} row {index}"

    def sizes(self) -> NDArray[np.int64]:
        """Return the bytes of each encoded image."""
        return encoded_sizes(self.dataset.data.column(self.column))

    def place(self, index: int) -> tuple[Path, int] | None:
        """Return the first file of the data set in the cache of `datasets`, which never changes, and the row."""
        files = self.dataset.cache_files
        return (Path(files[0]["filename"]), index) if files else None


def find_hub(name: str) -> tuple[dict[str, NamedImages], list[str]]:
    """Load a data set of the hub.

    Returns:
        Images by split, and notes.

    Raises:
        UserError: The hub cannot be reached, has no such data set, or the set has no images with labels.
    """
    from datasets import load_dataset  # takes a second, which other sources need not pay

    try:
        found = load_dataset(name)
    except Exception as error:  # the hub's clients raise many types, for no network, no such name, no permission
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"cannot load {name!r}",
            f"no such file or folder here, and the hub gave no data set of this name ({reason})",
            "Data may be digits, a folder, a parquet file, a CSV list or a data set on the hub (OWNER/NAME)",
        ) from error
    return named_splits(dict(found), name)


def find_large_parquet(parts: dict[str, list[Path]], name: str) -> tuple[dict[str, NamedImages], list[str]]:
    """Open parquet files through the cache of `datasets`, mapped into memory instead of read."""
    from datasets import load_dataset

    files = {split: [str(file) for file in paths] for split, paths in parts.items()}
    return named_splits(dict(load_dataset("parquet", data_files=files)), name)


def named_splits(found: dict[str, Any], name: str) -> tuple[dict[str, NamedImages], list[str]]:
    """Find images and class names in data sets of `datasets`.

    Args:
        found: Data sets by the name of their split.
        name: What errors call the whole.

    Returns:
        Images by split, and notes on what was left out.

    Raises:
        UserError: The columns are not found, or a label is not valid.
    """
    from datasets import Image

    splits: dict[str, NamedImages] = {}
    notes = []
    for part, dataset in found.items():
        split = split_word(part)
        if split is None or split in splits:
            notes.append(f"{part}: not used")
            continue
        image, label = _columns(dataset.features, name)
        known = getattr(dataset.features[label], "names", None)
        labels = dataset.data.column(label)
        if split != "train" and np.all(labels.to_numpy() == -1):
            notes.append(f"{part}: its labels are not public, not used")
            continue
        names = class_names_of(labels, known, f"{name} {part}")
        encoded = dataset.cast_column(image, Image(decode=False))
        splits[split] = NamedImages(HubImages(encoded, image, part), names)
    return splits, notes


def _columns(features: Any, name: str) -> tuple[str, str]:
    """Return the names of the image and of the label column, found by type first, then by name."""
    from datasets import ClassLabel, Image

    images = [column for column, kind in features.items() if isinstance(kind, Image)]
    images += [column for column in IMAGE_COLUMNS if column in features]
    classes = [column for column, kind in features.items() if isinstance(kind, ClassLabel)]
    # Where a set has fine and coarse labels, the usual name or the finer one is meant.
    labels = [column for column in LABEL_COLUMNS if column in classes] + classes
    labels += [column for column in LABEL_COLUMNS if column in features]
    if not images or not labels:
        why = f"it has no image column with a label column, only {', '.join(map(repr, features))}"
        raise UserError(f"cannot use {name}", why, "Choose a data set for image classification")
    return images[0], labels[0]
