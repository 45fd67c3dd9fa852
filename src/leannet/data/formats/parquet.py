"""Parquet files with encoded images and labels, in the layout of the Hugging Face hub."""

from __future__ import annotations

import bisect
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from numpy.typing import NDArray

from leannet.data.split import NamedImages, split_word
from leannet_runtime.errors import UserError
from leannet_runtime.images import DamagedImage

__all__ = ["IMAGE_COLUMNS", "LABEL_COLUMNS", "TableImages", "encoded_sizes", "find_parquet", "parquet_files"]

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels", "fine_label")


class TableImages:
    """Encoded images in a column of a table, which may be several files put one after another.

    Args:
        column: Binary values, or structures with a field ``bytes`` and perhaps ``path``.
        files: Name of each file and the row of the whole table at which it begins.
        root: The folder that these names are relative to.
    """

    def __init__(self, column: pa.ChunkedArray, files: list[tuple[str, int]], root: Path) -> None:
        self.column = column
        self.files = files
        self.root = root

    def __len__(self) -> int:
        return len(self.column)

    def encoded(self, index: int) -> bytes | Path:
        """Return the bytes of the image file, or its path where the table holds only that."""
        value = self.column[index].as_py()
        if isinstance(value, dict):
            value = value.get("bytes") or (value.get("path") and Path(value["path"]))
        if value is None:
            raise DamagedImage(f"cannot read {self.identifier(index)}", "the row holds no image")
        return value

    def identifier(self, index: int) -> str:
        """Return file and row ("train.parquet row 17")."""
        name, row = self._file_and_row(index)
        return f"{name} row {row}"

    def sizes(self) -> NDArray[np.int64]:
        """Return the bytes of each encoded image."""
        return encoded_sizes(self.column)

    def place(self, index: int) -> tuple[Path, int]:
        """Return the parquet file and the row in it."""
        name, row = self._file_and_row(index)
        return self.root / name, row

    def _file_and_row(self, index: int) -> tuple[str, int]:
        name, begin = self.files[bisect.bisect_right(self.files, index, key=lambda file: file[1]) - 1]
        return name, index - begin


def encoded_sizes(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return the bytes of each encoded image of a column, 0 where there is none."""
    is_struct = pa.types.is_struct(column.type)
    encoded = pc.struct_field(column, "bytes") if is_struct else column
    return pc.fill_null(pc.binary_length(encoded), 0).to_numpy().astype(np.int64)


def parquet_files(root: Path) -> dict[str, list[Path]]:
    """Find the parquet files of a folder, or of its sub-folder ``data``, by split.

    Returns:
        Files under "train", "validation" and "test", by the first word of their names; all under "train" where no name
        begins with such a word; nothing where there are none.
    """
    files = sorted(root.glob("*.parquet")) or sorted(root.glob("data/*.parquet"))
    parts: dict[str, list[Path]] = {}
    for file in files:
        first_word = re.split(r"[^A-Za-z]", file.name)[0]
        if split := split_word(first_word):
            parts.setdefault(split, []).append(file)
    return parts or ({"train": files} if files else {})


def find_parquet(parts: dict[str, list[Path]], root: Path) -> dict[str, NamedImages]:
    """Read parquet files into memory.

    Args:
        parts: Files by split.
        root: The folder that identifiers are relative to.

    Raises:
        UserError: A file cannot be read, or lacks the columns.
    """
    splits = {}
    for split, files in parts.items():
        columns, names, begins, begin = [], [], [], 0
        for file in files:
            column, more = _read(file)
            columns.append(column)
            names.append(more)
            begins.append((file.relative_to(root).as_posix(), begin))
            begin += len(more)
        chunks = [chunk for column in columns for chunk in column.chunks]
        table = pa.chunked_array(chunks, type=columns[0].type)
        splits[split] = NamedImages(TableImages(table, begins, root), np.concatenate(names))
    return splits


def _read(file: Path) -> tuple[pa.ChunkedArray, NDArray[np.str_]]:
    """Return the image column and the class names of the rows."""
    try:
        schema = pq.read_schema(file)
        image = next((name for name in IMAGE_COLUMNS if name in schema.names), None)
        label = next((name for name in LABEL_COLUMNS if name in schema.names), None)
        if image is None or label is None:
            raise UserError(
                f"cannot use {file}",
                f"it has no columns 'image' and 'label', only {', '.join(map(repr, schema.names))}",
                "Rename its columns: 'image' holds the bytes of image files, 'label' the class",
            )
        table = pq.read_table(file, columns=[image, label])
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"cannot read {file}", f"not a sound parquet file ({reason})", "Fetch it again") from error
    names = class_names_of(table[label], label_names(schema, label), str(file))
    kind = table[image].type
    if not (_is_binary(kind) or (pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0)):
        why = f"column {image!r} holds {kind}, not the bytes of image files"
        raise UserError(f"cannot use {file}", why, "Store encoded images (PNG, JPEG)")
    return table[image], names


def class_names_of(column: pa.ChunkedArray, known: list[str] | None, where: str) -> NDArray[np.str_]:
    """Return the class name of each row: from the list of known names, or the value itself as text.

    Raises:
        UserError: A label is missing, or is no index into the known names.
    """
    labels = column.to_numpy()
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy())[0])
        raise UserError(f"cannot use {where}", f"row {row} has no label", "Remove rows without a label")
    if known is None:
        return labels.astype(np.str_)
    wrong = (labels < 0) | (labels >= len(known))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        why = f"row {row} has the label {labels[row]}, and there are {len(known)} class names"
        raise UserError(f"cannot use {where}", why, "Correct the labels, or leave this part out")
    return np.array(known, dtype=np.str_)[labels]


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def label_names(schema: pa.Schema, column: str) -> list[str] | None:
    """Return the class names that `datasets` leaves in a file with a column of numbers, or None."""
    text = (schema.metadata or {}).get(b"huggingface")
    features: dict[str, Any] = json.loads(text).get("info", {}).get("features", {}) if text else {}
    return features.get(column, {}).get("names")
