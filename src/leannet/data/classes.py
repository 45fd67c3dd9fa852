"""Numbering the classes once, and matching every part to them by name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from leannet.data.split import SPLITS, NamedImages, Split, some
from leannet_runtime.errors import UserError

__all__ = ["number_classes", "training_classes"]


def training_classes(found: NamedImages, spec: str) -> tuple[str, ...]:
    """Return the class names of the training part, sorted plainly ("10" before "2").

    Raises:
        UserError: There is one class only.
    """
    classes = sorted({str(name) for name in found.names})
    if len(classes) < 2:
        why = f"all training images are of one class, {classes[0]!r}"
        raise UserError(f"cannot use {spec}", why, "Give at least two classes")
    return tuple(classes)


def number_classes(
    found: dict[str, NamedImages], class_names: Sequence[str], spec: str, *, trained: bool, ignore_unknown: bool
) -> tuple[dict[str, Split], list[str]]:
    """Turn class names into labels.

    Args:
        found: Images with their class names, by part.
        class_names: All classes; labels are indices into them.
        spec: What errors call the whole.
        trained: Whether these are the classes of a trained network; else they are those of the training part.
        ignore_unknown: Whether images of other classes are left out, instead of being an error.

    Returns:
        The splits, and notes on classes that are missing or left out.

    Raises:
        UserError: An image is of an unknown class, a part has none of a known one, or two classes have the same name.
    """
    owner = "the network" if trained else "the training part"
    numbers = {name: number for number, name in enumerate(class_names)}
    if len(numbers) < len(class_names):
        twice = next(name for name in numbers if list(class_names).count(name) > 1)
        why = f"two classes of {owner} are called {twice!r}, so images cannot be matched by name"
        raise UserError(f"cannot use {spec}", why, "Give each class a name of its own")
    splits, notes = {}, []
    for part in (name for name in SPLITS if name in found):
        images, names = found[part]
        here, which = np.unique(names, return_inverse=True)
        labels = np.array([numbers.get(str(name), -1) for name in here], np.int64)[which]
        rows = np.flatnonzero(labels >= 0)
        unknown = [str(name) for name in here if str(name) not in numbers]
        if unknown and (not ignore_unknown or not len(rows)):
            why = f"the {part} part has classes that {owner} lacks: {some(unknown)}"
            if ignore_unknown:
                raise UserError(f"cannot use {spec}", f"{why}, and no others", f"Its classes are {some(class_names)}")
            if trained:
                remedy = "Rename or remove them; train and evaluate leave them out with --ignore-unknown-classes"
            else:  # leannet compare has no such option: its networks are to see the same images
                remedy = "Add training images of them, remove them, or use leannet train --ignore-unknown-classes"
            raise UserError(f"cannot use {spec}", why, remedy)
        if unknown:
            left = len(labels) - len(rows)
            notes.append(f"the {part} part: {left:,} images left out, of classes that {owner} lacks: {some(unknown)}")
        if missing := [name for name in class_names if name not in here]:
            notes.append(f"the {part} part has no images of {some(missing)}")
        splits[part] = Split(images, rows, labels[rows])
    return splits, notes
