"""Images on which the networks of a comparison disagree: which they are, and small copies of them in the run folder."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from leannet.data import Split
from leannet.measure import PREDICTIONS
from leannet.report.html.reading import read_answers, read_json
from leannet.report.html.records import Picture
from leannet_runtime.files import make_folder, write_file, write_json

__all__ = ["MOST_PICTURES", "choose_disagreements", "keep_disagreements", "keep_pictures", "read_pictures"]

MOST_PICTURES = 24
"""More would not be looked at, and the page must stay small."""

LONGEST_SIDE = 128  # pixels
SMALL = 64  # pixels; pictures up to this side are kept without loss, so that every pixel is seen

FOLDER, LIST = "disagreements", "disagreements.json"


def choose_disagreements(
    labels: NDArray[np.int64], predicted: Sequence[NDArray[np.int64]], most: int = MOST_PICTURES
) -> NDArray[np.int64]:
    """Return the positions of images to which networks answer differently.

    First come those that about half of the networks get right, then those with the most different answers; among
    equals the order of the images decides.

    Args:
        labels: True classes, shape ``(N,)``.
        predicted: The answers of each network, the same shape.
        most: How many at most.
    """
    answers = np.stack(predicted) if predicted else np.empty((0, len(labels)), np.int64)
    kinds = np.array([len(np.unique(column)) for column in answers.T], np.int64)
    right = (answers == labels).sum(axis=0)
    from_half = np.abs(2 * right - len(answers))
    order = np.lexsort((np.arange(len(labels)), -kinds, from_half))
    return order[kinds[order] > 1][:most]


def keep_disagreements(folder: Path, split: Split, class_names: Sequence[str], networks: Sequence[Path]) -> None:
    """Keep small copies of the images on which the networks of a comparison disagree.

    Args:
        folder: Of the comparison.
        split: The images that were judged.
        class_names: By label.
        networks: Folders with ``predictions.csv``; those without, of an earlier version, are passed over.

    Raises:
        UserError: A file cannot be written.
    """
    read = [read_answers(place / PREDICTIONS, place.name, None, class_names) for place in networks]
    images = tuple(split.identifiers())
    answers = [each.predicted for each in read if each is not None and each.images == images]
    keep_pictures(folder, split, choose_disagreements(split.labels, answers))


def keep_pictures(folder: Path, split: Split, positions: NDArray[np.int64]) -> None:
    """Write small copies of images into a run folder, and remove those that lay there.

    Args:
        folder: Of the run.
        split: The images.
        positions: Which of them.

    Raises:
        UserError: A file cannot be written.
    """
    place, entries = folder / FOLDER, []
    (folder / LIST).unlink(missing_ok=True)
    shutil.rmtree(place, ignore_errors=True)
    if not len(positions):
        return
    make_folder(place)
    for number, position in enumerate(map(int, positions)):
        image = split.read(position).convert("RGB")
        small = max(image.size) <= SMALL
        image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
        name = f"{number}.{'png' if small else 'jpg'}"
        kind = "png" if small else "jpeg"
        write_file(place / name, lambda path, image=image, kind=kind: image.save(path, kind, quality=85))  # type: ignore[misc]
        entries.append({"image": split.identifier(position), "file": f"{FOLDER}/{name}"})
    write_json(folder / LIST, {"pictures": entries})


def read_pictures(folder: Path) -> tuple[Picture, ...]:
    """Return the pictures that `keep_pictures` left in a run folder."""
    path = folder / LIST
    if not path.is_file():
        return ()
    entries = [Picture(entry["image"], folder / entry["file"]) for entry in read_json(path)["pictures"][:MOST_PICTURES]]
    own = (folder / FOLDER).resolve()
    return tuple(entry for entry in entries if entry.file.is_file() and entry.file.resolve().is_relative_to(own))
