"""Image folders: one folder per class, with or without folders per split above them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leannet.data.split import SPLITS, NamedImages, some, split_word
from leannet_runtime.errors import UserError
from leannet_runtime.images import image_extensions

__all__ = ["FileImages", "find_folder"]

EXPECTED = "Expected FOLDER/CLASS/image.jpg, or FOLDER/train/CLASS/image.jpg and FOLDER/test/CLASS/image.jpg"


class FileImages:
    """Image files below a folder.

    Args:
        root: The folder.
        paths: Paths relative to it, with "/" on every system.
    """

    def __init__(self, root: Path, paths: list[str]) -> None:
        self.root = root
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def encoded(self, index: int) -> Path:
        """Return the path of the file."""
        return self.root / self.paths[index]

    def identifier(self, index: int) -> str:
        """Return the path relative to the folder ("train/cat/1.jpg")."""
        return self.paths[index]

    def sizes(self) -> NDArray[np.int64]:
        """Return the size of each file in bytes; 0 where there is none, as behind a dangling link."""
        return np.array([_size(self.encoded(index)) for index in range(len(self))], np.int64)

    def place(self, index: int) -> tuple[Path, int]:
        """Return the path of the file; it has one row."""
        return self.encoded(index), 0


def find_folder(root: Path, *, train_required: bool = True) -> tuple[dict[str, NamedImages], list[str]]:
    """Find the images of a folder.

    A sub-folder is a split if its name is one of the words for splits and it has sub-folders itself: a class named
    "train" (next to "bus" and "tram") stays a class.

    Args:
        root: An existing folder.
        train_required: Whether folders per split are of use only with training images among them.

    Returns:
        Images by split (all under "train" where there are no folders per split), and notes.

    Raises:
        UserError: There is no image, a split is empty or there twice, the training part is missing, or a folder cannot
            be read.
    """
    below = _folders(root)
    parts: dict[str, Path] = {}
    for folder in below:
        split = split_word(folder.name)
        if split and _folders(folder):
            if split in parts:
                names = f"{parts[split].name} and {folder.name}"
                raise UserError(f"cannot use {root}", f"{names} both name the {split} part", "Keep one of them")
            parts[split] = folder
    if not parts:
        found, notes = _find_classes(root, root)
        if not len(found.images):
            raise UserError(f"cannot use {root}", f"no images found in class folders; {_outline(root)}", EXPECTED)
        return {"train": found}, notes
    if train_required and "train" not in parts:
        raise UserError(f"cannot use {root}", f"it has no training part; {_outline(root)}", EXPECTED)
    notes = [f"{folder.name}: not a split, ignored" for folder in below if folder not in parts.values()]
    splits = {}
    for split in sorted(parts, key=SPLITS.index):
        splits[split], more = _find_classes(root, parts[split])
        notes += more
        if not len(splits[split].images):
            why = f"{parts[split].name} holds no images in class folders; {_outline(parts[split])}"
            raise UserError(f"cannot use {root}", why, EXPECTED)
    return splits, notes


def _find_classes(root: Path, part: Path) -> tuple[NamedImages, list[str]]:
    """Return the images below each sub-folder of `part`, which is `root` or lies in it, and notes."""
    paths: list[str] = []
    names: list[str] = []
    notes: list[str] = []
    for folder in _folders(part):
        found = sorted(file.relative_to(root).as_posix() for file in _image_files(folder))
        paths += found
        names += [folder.name] * len(found)
        if not found:
            notes.append(f"{folder.relative_to(root).as_posix()} holds no image: not a class")
    broken = [entry for entry in _entries(part) if entry.is_symlink() and not entry.exists()]
    notes += [f"{entry.relative_to(root).as_posix()}: a link to nothing, ignored" for entry in broken]
    return NamedImages(FileImages(root, paths), np.array(names, dtype=np.str_)), notes


def _entries(folder: Path) -> list[Path]:
    """Return what lies in a folder, sorted, hidden entries left out."""
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise _unreadable(error) from error


def _folders(folder: Path) -> list[Path]:
    return [entry for entry in _entries(folder) if entry.is_dir() and not entry.name.startswith("__")]


def _image_files(folder: Path) -> list[Path]:
    """Return everything with the ending of an image, at any depth, hidden files left out.

    A folder with such an ending is returned too, not entered: it stands where an image was meant, and is found to be
    damaged like one.
    """
    found = []

    def stop(error: OSError) -> None:
        raise _unreadable(error) from error

    for where, folders, files in os.walk(folder, onerror=stop, followlinks=True):
        shown = [name for name in (*folders, *files) if not name.startswith(".")]
        images = [name for name in shown if Path(name).suffix.lower() in image_extensions()]
        found += [Path(where, name) for name in images]
        folders[:] = sorted(set(folders) & set(shown) - set(images))
    return found


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _unreadable(error: OSError) -> UserError:
    return UserError(f"cannot read folder {error.filename}", str(error.strerror), "Make it readable, or remove it")


def _outline(folder: Path) -> str:
    """Say in one line what lies in a folder and below ("found test/ (cat/, dog/), list.csv")."""
    entries = _entries(folder)
    if not entries:
        return "the folder is empty"
    shown = []
    for entry in entries[:8]:
        below = [inner.name + "/" * inner.is_dir() for inner in _entries(entry)] if entry.is_dir() else []
        shown.append(entry.name + "/" * entry.is_dir() + (f" ({some(below, 3)})" if below else ""))
    return f"found {some(shown, 8, len(entries))}"
