"""Lists of image files with labels: CSV, TSV, or parquet files that hold paths instead of images."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from leannet.data.formats.folder import FileImages
from leannet.data.formats.parquet import class_names_of, label_names
from leannet.data.split import SPLIT_WORDS, NamedImages, some, split_word
from leannet_runtime.errors import UserError

__all__ = ["LIST_ENDINGS", "find_list", "is_list"]

LIST_ENDINGS = (".csv", ".tsv")

# Names of columns, in whatever case; the first one that is there counts. "file_name" is the word of `datasets`.
PATH_COLUMNS = ("file_name", "image", "path", "filepath", "filename")
LABEL_COLUMNS = ("label", "labels", "class", "class_name", "target")
SPLIT_COLUMNS = ("split",)

# Names of classes lie in one array, in which each takes the room of the longest.
LONGEST_LABEL = 1000  # characters


class Row(NamedTuple):
    """One image of a list, with the place in the list for errors ("line 3")."""

    place: str
    path: str
    label: str
    split: str


class Columns(NamedTuple):
    """Where in a row path, label and split stand; None without a column of splits."""

    path: int
    label: int
    split: int | None


def find_list(path: Path) -> dict[str, NamedImages]:
    """Read a list.

    It has a header with a column of paths, relative to the folder of the list or absolute, a column of labels, and
    perhaps a column ``split`` with the words for splits. Columns of a CSV file are separated by commas, semicolons or
    tabs. Whether the files are there is found out when they are read.

    Args:
        path: An existing file.

    Returns:
        Images by split; all under "train" where there is no column of splits.

    Raises:
        UserError: The list is empty, no UTF-8 text, or lacks a column; a row has no path, no label, or an unknown
            split.
    """
    paths: dict[str, list[str]] = {}
    labels: dict[str, list[str]] = {}
    for row in _parquet_rows(path) if path.suffix.lower() == ".parquet" else _text_rows(path):
        if not row.path or not row.label:
            what = "label" if row.path else "path"
            raise UserError(f"cannot use {path}", f"{row.place} has no {what}", "Complete the row, or remove it")
        if len(row.label) > LONGEST_LABEL:
            why = f"{row.place} has a label of {len(row.label):,} characters, more than {LONGEST_LABEL:,}"
            raise UserError(f"cannot use {path}", why, "Give names of classes")
        split = split_word(row.split)
        if split is None:
            words = ", ".join(word for words in SPLIT_WORDS.values() for word in words)
            raise UserError(
                f"cannot use {path}", f"{row.place} has the split {row.split[:60]!r}", f"The words are {words}"
            )
        paths.setdefault(split, []).append(row.path)
        labels.setdefault(split, []).append(row.label)
    if not paths:
        raise UserError(f"cannot use {path}", "the list is empty", "Give a row for each image, below a header")
    return {
        split: NamedImages(FileImages(path.parent, paths[split]), np.array(labels[split], dtype=np.str_))
        for split in paths
    }


def is_list(path: Path) -> bool:
    """Say whether a CSV, TSV or parquet file has columns of paths and labels; other files and damaged ones have not."""
    try:
        if path.suffix.lower() == ".parquet":
            schema = pq.read_schema(path)
            column = _columns(path, schema.names).path
            return pa.types.is_string(schema.types[column]) or pa.types.is_large_string(schema.types[column])
        with path.open(encoding="utf-8-sig", newline="") as file:
            return bool(_columns(path, _header(file.readline(), path)[1]))
    except (UserError, pa.ArrowException, csv.Error, OSError, UnicodeDecodeError):
        return False


def _text_rows(path: Path) -> Iterator[Row]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            delimiter, header = _header(file.readline(), path)
            columns = _columns(path, header) if header else None
            reader = csv.reader(file, delimiter=delimiter)
            for cells in reader:
                if columns and any(cells):
                    texts = [cell.strip() for cell in cells] + [""] * (len(header) - len(cells))
                    split = "train" if columns.split is None else texts[columns.split]
                    place = f"line {reader.line_num + 1}"
                    yield Row(place, texts[columns.path], texts[columns.label], split)
    except UnicodeDecodeError as error:
        raise UserError(f"cannot read {path}", "it is no UTF-8 text", "Save it as UTF-8") from error
    except (csv.Error, OSError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UserError(f"cannot read {path}", why, "Give a CSV file with one row for each image") from error


def _header(line: str, path: Path) -> tuple[str, list[str]]:
    """Return the delimiter, which is the one that makes most columns of the header, and the header."""
    delimiters = "\t" if path.suffix.lower() == ".tsv" else ",;\t"
    headers = {delimiter: next(csv.reader([line], delimiter=delimiter), []) for delimiter in delimiters}
    delimiter = max(headers, key=lambda candidate: len(headers[candidate]))
    return delimiter, headers[delimiter]


def _parquet_rows(path: Path) -> Iterator[Row]:
    table = pq.read_table(path)
    columns = _columns(path, table.schema.names)
    name = table.schema.names[columns.label]
    labels = class_names_of(table.column(columns.label), label_names(table.schema, name), str(path))
    splits = None if columns.split is None else table.column(columns.split).to_pylist()
    for row, (file, label) in enumerate(zip(table.column(columns.path).to_pylist(), labels, strict=True)):
        yield Row(f"row {row}", file or "", str(label), "train" if splits is None else str(splits[row]))


def _columns(path: Path, header: list[str]) -> Columns:
    names = [name.strip().lower() for name in header]
    places = [
        next((names.index(word) for word in words if word in names), None)
        for words in (PATH_COLUMNS, LABEL_COLUMNS, SPLIT_COLUMNS)
    ]
    file, label, split = places
    if file is None or label is None:
        words, what = (LABEL_COLUMNS, "labels") if file is not None else (PATH_COLUMNS, "paths")
        raise UserError(
            f"cannot use {path}",
            f"it has no column of {what} ({', '.join(words)}), only {some([repr(name) for name in header])}",
            "Rename its columns: 'file_name' holds paths, 'label' the class",
        )
    return Columns(file, label, split)
