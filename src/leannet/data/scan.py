"""Looking at every image once before hours are spent on them: which are damaged, which lie in two parts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from PIL import Image

from leannet.data.reading import Reading, drop_damaged, read_all
from leannet.data.source import Source
from leannet.data.split import Split
from leannet.data.verdicts import Mark, Verdict, load_verdicts, marks_of, save_verdicts
from leannet_runtime.images import DamagedImage

__all__ = ["Duplicate", "Scan", "ScanRow", "examine", "find_damaged", "scan_source"]

# How many pixels are copied at a time to be hashed.
HASHED_PIXELS = 2**20


@dataclass(frozen=True)
class ScanRow:
    """One class of one part.

    Args:
        split: "train", "validation" or "test".
        class_name: Name of the class.
        images: How many images there are, damaged ones included.
        damaged: How many of them cannot be decoded.
    """

    split: str
    class_name: str
    images: int
    damaged: int


@dataclass(frozen=True)
class Duplicate:
    """An image of one part whose pixels are exactly those of an image of an earlier part.

    Args:
        split: The earlier part ("train").
        identifier: The first image there with these pixels.
        other_split: The later part ("test").
        other_identifier: The image there.
    """

    split: str
    identifier: str
    other_split: str
    other_identifier: str


@dataclass(frozen=True)
class Scan:
    """What looking at every image came to.

    Args:
        rows: A row for each class of each part, in order; with 0 images where a part lacks a class.
        damaged: The damaged images of each part, in order; each says which it is and why.
        duplicates: Images that lie in two parts, the pairs of "train" and "validation" first.
        source: The source without its damaged images.
        notes: What the user should know about all this.
    """

    rows: tuple[ScanRow, ...]
    damaged: dict[str, tuple[DamagedImage, ...]]
    duplicates: tuple[Duplicate, ...]
    source: Source
    notes: tuple[str, ...]


def scan_source(source: Source) -> Scan:
    """Decode every image of every part once, in threads; images that were looked at before are not decoded again.

    What was found out is kept in the cache folder (see `leannet_runtime.files.cache_folder`), by the path, size and
    time of change of each file. Images in memory are decoded each time.

    Args:
        source: Where the images are; its ``reading`` says what happens to damaged ones, how many threads decode, and
            whom to tell, of all parts together.

    Raises:
        UserError: An image is damaged and must not be skipped, or a part or a training class has no sound image.
    """
    total, done = sum(map(len, source.splits.values())), 0
    verdicts = {}
    for name, split in source.splits.items():
        verdicts[name] = examine(split, _counting_on(source.reading, done, total))
        done += len(split)
    damaged = {name: _damaged(split, verdicts[name]) for name, split in source.splits.items()}
    kept: dict[str, Split] = {}
    notes: list[str] = []
    for name, split in source.splits.items():
        kept[name], more = drop_damaged(split, damaged[name], source.reading, name, source.class_names)
        notes += more
    duplicates = _duplicates(source, verdicts)
    return Scan(
        rows=tuple(_rows(source, damaged)),
        damaged={name: tuple(errors.values()) for name, errors in damaged.items()},
        duplicates=tuple(duplicates),
        source=replace(source, splits=kept),
        notes=(*notes, *_duplicate_notes(source, duplicates)),
    )


def find_damaged(split: Split, reading: Reading) -> dict[int, DamagedImage]:
    """Return the positions of images that cannot be decoded, ascending, and why; see `scan_source`."""
    return _damaged(split, examine(split, reading))


def examine(split: Split, reading: Reading) -> list[Verdict]:
    """Return the verdict on each image: remembered, or found out and remembered."""
    marks = marks_of(split)
    verdicts = load_verdicts(marks)
    new = np.array([position for position in range(len(split)) if position not in verdicts], np.int64)
    if reading.progress and len(verdicts):
        reading.progress(len(verdicts), len(split))
    fresh: dict[int, Verdict] = {}
    lasting: dict[Mark, Verdict] = {}

    def conclude(position: int, verdict: Verdict, *, lasts: bool = True) -> None:
        fresh[position] = verdict
        if lasts and (mark := marks[position]):
            lasting[mark] = verdict

    def use(index: int, image: Image.Image) -> None:
        conclude(int(new[index]), Verdict(_hash(image), None))

    try:
        damaged = read_all(split.take(new), use, _counting_on(reading, len(verdicts), len(split)))
        for index, error in damaged.items():
            conclude(int(new[index]), Verdict(None, error.why), lasts=not _may_pass(error))
    finally:  # what is found out by the time that someone interrupts is worth keeping
        save_verdicts(lasting)
    return [(fresh if position in fresh else verdicts)[position] for position in range(len(split))]


def _may_pass(error: DamagedImage) -> bool:
    """Say whether the fault lies with the system (permission, memory, a disk that is away), not with the image."""
    cause = error.__cause__
    return isinstance(cause, MemoryError) or getattr(cause, "errno", None) is not None


def _counting_on(reading: Reading, begin: int, total: int) -> Reading:
    """Return the reading that tells of a part as one of `total` images, of which `begin` are done before."""
    tell = reading.progress
    return replace(reading, progress=(lambda done, _: tell(begin + done, total)) if tell else None)


def _hash(image: Image.Image) -> bytes:
    digest = hashlib.blake2b(f"{image.width} {image.height} ".encode(), digest_size=16)
    height = max(HASHED_PIXELS // image.width, 1)
    for top in range(0, image.height, height):  # pillow would copy a large picture twice
        digest.update(image.crop((0, top, image.width, min(top + height, image.height))).tobytes())
    return digest.digest()


def _damaged(split: Split, verdicts: list[Verdict]) -> dict[int, DamagedImage]:
    return {
        position: DamagedImage(f"cannot read {split.identifier(position)}", verdict.why)
        for position, verdict in enumerate(verdicts)
        if verdict.why is not None
    }


def _rows(source: Source, damaged: dict[str, dict[int, DamagedImage]]) -> list[ScanRow]:
    rows = []
    for name, split in source.splits.items():
        classes = len(source.class_names)
        images = np.bincount(split.labels, minlength=classes)
        bad = np.bincount(split.labels[list(damaged[name])], minlength=classes)
        rows += [ScanRow(name, *row) for row in zip(source.class_names, images.tolist(), bad.tolist(), strict=True)]
    return rows


def _duplicates(source: Source, verdicts: dict[str, list[Verdict]]) -> list[Duplicate]:
    first: dict[str, dict[bytes, int]] = {name: {} for name in verdicts}
    for name, found in verdicts.items():
        for position, verdict in enumerate(found):
            if verdict.pixels:
                first[name].setdefault(verdict.pixels, position)
    duplicates = []
    for one, other in combinations(source.splits, 2):
        for position, verdict in enumerate(verdicts[other]):
            if verdict.pixels in first[one]:
                original = source.splits[one].identifier(first[one][verdict.pixels])
                duplicates.append(Duplicate(one, original, other, source.splits[other].identifier(position)))
    return duplicates


def _duplicate_notes(source: Source, duplicates: list[Duplicate]) -> list[str]:
    notes = []
    for one, other in combinations(source.splits, 2):
        pairs = [pair for pair in duplicates if (pair.split, pair.other_split) == (one, other)]
        if pairs:
            count = f"{len(pairs):,} of {len(source.splits[other]):,} images of the {other} part"
            same = f"{pairs[0].other_identifier} = {pairs[0].identifier}"
            notes.append(f"{count} are in the {one} part too, with exactly the same pixels, the first: {same}")
    return notes
