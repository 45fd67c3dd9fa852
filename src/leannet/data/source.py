"""Where images come from: a name or a path, opened to splits whose classes are numbered once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from leannet.data.digits import find_digits
from leannet.data.folder import find_folder
from leannet.data.hub import find_hub, find_large_parquet
from leannet.data.parquet import find_parquet, parquet_files
from leannet.data.scan import BadImages, Reading
from leannet.data.split import SPLITS, NamedImages, Split, split_word, stratified_split
from leannet_runtime.errors import UserError

__all__ = ["Source", "open_source"]

# Parquet files above this are mapped by `datasets` instead of read into memory.
PARQUET_IN_MEMORY = 2 * 2**30  # bytes

# Share of each class that is held out where there is only one part.
HELD_OUT_SHARE = 0.2


@dataclass(frozen=True)
class Source:
    """Labelled images, divided into splits.

    Args:
        name: Short, for file names ("cifar10").
        location: What was opened, as it was given.
        class_names: Names of the classes of the training part, sorted; a label is an index into them.
        splits: "train" and at least one of "validation" and "test".
        notes: What the user should know: how a split was made, what was left out.
        mirror: Whether an image flipped from left to right keeps its label.
        reading: How images are decoded, and what happens to damaged ones.
    """

    name: str
    location: str
    class_names: tuple[str, ...]
    splits: dict[str, Split]
    notes: tuple[str, ...] = ()
    mirror: bool = True
    reading: Reading = field(default_factory=Reading)

    @property
    def held_out(self) -> tuple[str, Split]:
        """Name and images of the part to be judged on: "test" if there, else "validation"."""
        name = "test" if "test" in self.splits else "validation"
        return name, self.splits[name]

    @property
    def split_lists(self) -> dict[str, list[str]]:
        """Identifiers of the images of each split, for writing down how a split was made."""
        return {name: split.identifiers() for name, split in self.splits.items()}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over classes, and over identifier, label and encoded size of each image of each split."""
        digest = hashlib.sha256("\0".join(self.class_names).encode())
        for name in sorted(self.splits):
            split = self.splits[name]
            digest.update(f"\n{name}\n".encode())
            for identifier, label, size in zip(split.identifiers(), split.labels, split.sizes(), strict=True):
                digest.update(f"{identifier}\0{label}\0{size}\n".encode())
        return digest.hexdigest()


def open_source(
    spec: str | Path,
    *,
    seed: int = 0,
    bad_images: BadImages = "error",
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Source:
    """Open labelled images by a name or a path. No image is decoded yet.

    Args:
        spec: "digits" (scikit-learn's), a folder of class folders (with or without folders "train", "test" ... above
            them), a folder of parquet files, a parquet file, or the name of a data set on the hub ("owner/name").
        seed: For the stratified split, where only one part is there.
        bad_images: What to do with images that cannot be decoded, when a split is read: "error" or "skip".
        workers: Threads or processes that decode; by default as many as there are processors to use.
        progress: Called with the number of images decoded so far and the number of all.

    Raises:
        UserError: Nothing is there, or it is not a set of at least two classes with training and held-out images.
    """
    path = Path(spec).expanduser()
    found, notes = _find(str(spec), path)
    _check_parts(found, str(spec))
    class_names, missing = _check_classes(found, str(spec))
    splits = {name: _number(found[name], class_names) for name in SPLITS if name in found}
    if len(splits) == 1:
        splits["train"], splits["test"] = stratified_split(
            splits["train"], class_names, seed=seed, share=HELD_OUT_SHARE
        )
        notes.append(f"no test part there: {HELD_OUT_SHARE:.0%} of each class held out for testing, by seed {seed}")
    return Source(
        name=_short_name(path),
        location=str(spec),
        class_names=class_names,
        splits=splits,
        notes=(*notes, *missing),
        mirror=str(spec) != "digits",
        reading=Reading(bad_images, workers, progress),
    )


def _find(spec: str, path: Path) -> tuple[dict[str, NamedImages], list[str]]:
    if spec == "digits":
        return find_digits(), []
    if path.is_dir():
        parts, root = parquet_files(path), path
        if not parts:
            return find_folder(path)
    elif path.is_file():
        if path.suffix.lower() != ".parquet":
            raise UserError(f"cannot use {path}", "it is neither a folder nor a parquet file", "Unpack or convert it")
        parts, root = {"train": [path]}, path.parent
    elif re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", spec) and path.suffix != ".parquet":  # OWNER/NAME
        return find_hub(spec)
    else:
        remedy = "Data may be digits, a folder, a parquet file or the name of a data set on the hub (OWNER/NAME)"
        raise UserError(f"cannot open {spec}", "no such file or folder", remedy)
    if sum(file.stat().st_size for files in parts.values() for file in files) > PARQUET_IN_MEMORY:
        return find_large_parquet(parts, spec)
    return find_parquet(parts, root), []


def _number(found: NamedImages, class_names: tuple[str, ...]) -> Split:
    """Turn class names into indices; all of them are in `class_names`, which is sorted."""
    labels = np.searchsorted(np.array(class_names), found.names).astype(np.int64)
    return Split(found.images, np.arange(len(labels)), labels)


def _check_parts(splits: dict[str, NamedImages], spec: str) -> None:
    empty = [split for split, found in splits.items() if not len(found.names)]
    if empty or "train" not in splits:
        why = f"the {empty[0]} part has no images" if empty else "it has no training part"
        raise UserError(f"cannot use {spec}", why, "Add images, or take the part away")


def _check_classes(splits: dict[str, NamedImages], spec: str) -> tuple[tuple[str, ...], list[str]]:
    """Return the sorted class names of the training part, and notes on classes that another part lacks."""
    classes = sorted({str(name) for name in splits["train"].names})
    if len(classes) < 2:
        why = f"all training images are of one class, {classes[0]!r}"
        raise UserError(f"cannot use {spec}", why, "Give at least two classes")
    notes = []
    for split, found in splits.items():
        here = {str(name) for name in found.names}
        unknown = sorted(here - set(classes))
        if unknown:
            why = f"the {split} part has classes that the training part lacks: {', '.join(unknown)}"
            raise UserError(f"cannot use {spec}", why, "Add training images of these classes, or remove them")
        if missing := [name for name in classes if name not in here]:
            notes.append(f"the {split} part has no images of {', '.join(missing)}")
    return tuple(classes), notes


def _short_name(path: Path) -> str:
    """Return a name fit for file names; "photos/train.parquet" is called after its folder."""
    path = path.resolve()
    stem = path.stem if path.suffix == ".parquet" else path.name
    stem = path.parent.name if split_word(stem) else stem
    return re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("-") or "data"
