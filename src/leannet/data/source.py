"""Where images come from: a name or a path, opened to splits whose classes are numbered once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from leannet.data.classes import number_classes, training_classes
from leannet.data.formats.digits import find_digits
from leannet.data.formats.folder import find_folder
from leannet.data.formats.hub import find_hub, find_large_parquet
from leannet.data.formats.lists import LIST_ENDINGS, find_list, is_list
from leannet.data.formats.parquet import find_parquet, parquet_files
from leannet.data.reading import BadImages, Reading
from leannet.data.split import SPLITS, NamedImages, Split, some, split_word, stratified_split
from leannet_runtime.errors import UserError

__all__ = ["SPLIT_SEED", "Source", "open_source", "with_validation"]

# The list that `datasets` looks for in a folder of images.
METADATA = "metadata.csv"

# Parquet files above this are mapped by `datasets` instead of read into memory.
PARQUET_IN_MEMORY = 2 * 2**30  # bytes

SPLIT_SEED = 0
"""Of parts that are made: whatever seed a training has, what is held out from one is held out from all."""

# Share of each class that is held out where there is only one part.
HELD_OUT_SHARE = 0.2


@dataclass(frozen=True)
class Source:
    """Labelled images, divided into splits.

    Args:
        name: Short, for file names ("cifar10").
        location: What was opened, as it was given.
        class_names: Names of the classes; a label is an index into them. Those of the training part, sorted, or those
            of a trained network.
        splits: "train" and at least one of "validation" and "test"; for a trained network perhaps one of them only.
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
    class_names: Sequence[str] | None = None,
    ignore_unknown_classes: bool = False,
) -> Source:
    """Open labelled images by a name or a path. No image is decoded yet.

    Where the only part is a training part, a stratified part of it is held out as "test". It is a function of the seed
    and of the images' names, so a trained network opens the same data to be judged on what its training held out.

    Args:
        spec: "digits" (scikit-learn's), a folder of class folders (with or without folders "train", "test" ... above
            them, or with a list ``metadata.csv``), a folder of parquet files, a parquet file, a list of image files
            (CSV, TSV or parquet, see `find_list`), or the name of a data set on the hub ("owner/name").
        seed: For the stratified split, where only one part is there.
        bad_images: What to do with images that cannot be decoded, when a split is read: "error" or "skip".
        workers: Threads or processes that decode; by default as many as there are processors to use.
        progress: Called with the number of images decoded so far and the number of all.
        class_names: The classes of a trained network: labels are then indices into exactly this list, and parts
            without training images will do. By default those of the training part.
        ignore_unknown_classes: Whether images of other classes are left out, with a note, instead of being an error.

    Raises:
        UserError: Nothing is there, or it does not fit: without `class_names`, it is not a set of at least two classes
            with training and held-out images; with them, there are other classes, or none of these.
    """
    path = Path(spec).expanduser()
    found, notes = _find(str(spec), path, train_required=class_names is None)
    _check_parts(found, str(spec), train_required=class_names is None)
    classes = training_classes(found["train"], str(spec)) if class_names is None else tuple(class_names)
    splits, more = number_classes(
        found, classes, str(spec), trained=class_names is not None, ignore_unknown=ignore_unknown_classes
    )
    notes += more
    if list(splits) == ["train"]:
        splits["train"], splits["test"] = stratified_split(
            splits["train"], classes, seed=seed, share=HELD_OUT_SHARE, keep_single=class_names is not None
        )
        if not len(splits["test"]):
            why = "no class has two images, of which one could be held out"
            raise UserError(f"cannot use {spec}", why, "Add images, or put these into FOLDER/test/CLASS")
        notes.append(f"no test part there: {HELD_OUT_SHARE:.0%} of each class held out for testing, by seed {seed}")
        notes += _single_notes(splits["train"], splits["test"], classes)
    return Source(
        name=_short_name(path),
        location=str(spec),
        class_names=classes,
        splits=splits,
        notes=tuple(notes),
        mirror=str(spec) != "digits",
        reading=Reading(bad_images, workers, progress),
    )


def with_validation(source: Source, fraction: float, seed: int) -> Source:
    """Make a stratified part of the training images the validation part, where there is none.

    Args:
        source: With a training part.
        fraction: Share of each class, at least one image; 0 changes nothing.
        seed: Another seed gives another part.

    Returns:
        The source with a part "validation" and a note on how it was made. The only image of a class stays in training.

    Raises:
        UserError: The fraction is not from 0 to below 1.
    """
    if not 0 <= fraction < 1:
        raise UserError(f"validation fraction {fraction:g}", "it is a share from 0 to below 1", "Pass 0.1, say")
    if not fraction or "validation" in source.splits:
        return source
    names = source.class_names
    train, held_out = stratified_split(source.splits["train"], names, seed=seed, share=fraction, keep_single=True)
    notes = _single_notes(train, held_out, names)
    if not len(held_out):
        return replace(source, notes=(*source.notes, *notes))
    made = f"no validation part there: {100 * fraction:g}% of each class of the training part held out, by seed {seed}"
    parts = {**source.splits, "train": train, "validation": held_out}
    splits = {name: parts[name] for name in SPLITS if name in parts}
    return replace(source, splits=splits, notes=(*source.notes, made, *notes))


def _single_notes(train: Split, held_out: Split, class_names: tuple[str, ...]) -> list[str]:
    single = [class_names[label] for label in np.setdiff1d(train.labels, held_out.labels)]
    return [f"{some(single)}: one training image only, not held out"] if single else []


def _find(spec: str, path: Path, *, train_required: bool) -> tuple[dict[str, NamedImages], list[str]]:
    if spec == "digits":
        return find_digits(), []
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:  # behind a folder that may not be entered, or no name at all
        raise UserError(f"cannot open {spec}", str(error.strerror), "Correct the name, or make it readable") from error
    if is_folder:
        parts, root = parquet_files(path), path
        if not parts:
            listed = path / METADATA
            return (find_list(listed), []) if is_list(listed) else find_folder(path, train_required=train_required)
    elif is_file:
        if path.suffix.lower() in LIST_ENDINGS or is_list(path):
            return find_list(path), []
        if path.suffix.lower() != ".parquet":
            why = "it is neither a folder, nor a parquet file, nor a CSV list"
            raise UserError(f"cannot use {path}", why, "Unpack or convert it")
        parts, root = {"train": [path]}, path.parent
    elif re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", spec) and path.suffix.lower() not in (".parquet", *LIST_ENDINGS):
        return find_hub(spec)  # OWNER/NAME
    else:
        remedy = "Data may be digits, a folder, a parquet file, a CSV list or a data set on the hub (OWNER/NAME)"
        raise UserError(f"cannot open {spec}", "no such file or folder", remedy)
    if sum(file.stat().st_size for files in parts.values() for file in files) > PARQUET_IN_MEMORY:
        return find_large_parquet(parts, spec)
    return find_parquet(parts, root), []


def _check_parts(splits: dict[str, NamedImages], spec: str, *, train_required: bool) -> None:
    empty = [split for split, found in splits.items() if not len(found.names)]
    if empty or not splits or (train_required and "train" not in splits):
        why = f"the {empty[0]} part has no images" if empty else "it has no training part"
        raise UserError(f"cannot use {spec}", why, "Add images, or take the part away")


def _short_name(path: Path) -> str:
    """Return a name fit for file names; "photos/train.parquet" is called after its folder."""
    path = path.resolve()
    stem = path.stem if path.suffix.lower() in (".parquet", *LIST_ENDINGS) else path.name
    stem = path.parent.name if split_word(stem) else stem
    return re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("-") or "data"
