"""Which images are meant: files, folders, patterns, or a list on the standard input."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from leannet_runtime.errors import UserError

__all__ = ["image_paths"]

STANDARD_INPUT = "-"


def image_paths(arguments: Sequence[str]) -> list[str]:
    """Return the paths of all images that are meant, in the order of the arguments.

    Args:
        arguments: Files, as they are; folders, for all images at any depth, sorted; patterns like ``photos/*.jpg`` or
            ``photos/**/*.png``, sorted; "-" for the lines of the standard input, each one of these.

    Raises:
        UserError: A pattern or folder has no image, a folder cannot be read, or an address on the web is given.
    """
    found: list[str] = []
    for argument in arguments:
        for given in _lines() if argument == STANDARD_INPUT else [argument]:
            found += _images(given)
    if not found:
        raise UserError("no images", "the standard input names none", "Give paths, one a line")
    return found


def _lines() -> Iterator[str]:
    """Yield the lines of the standard input; file names may be bytes that are no text."""
    for line in sys.stdin.buffer:
        if path := os.fsdecode(line.rstrip(b"\r\n")):
            yield path


def _images(given: str) -> list[str]:
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", given) and not Path(given).exists():
        raise UserError(f"cannot read {given}", "addresses are not fetched", "Download it, and give the file")
    if Path(given).is_dir():
        return _below(given)
    if glob.has_magic(given) and not Path(given).exists():
        matched = sorted(glob.glob(given, recursive=True))  # noqa: PTH207  (what the user typed, relative or not)
        images = [image for path in matched for image in (_below(path, True) if Path(path).is_dir() else [path])]
        if not images:
            raise UserError(f"no images {given}", "nothing matches this pattern", "Check it, or give a folder")
        return list(dict.fromkeys(images))  # ``**`` matches a folder and what is in it
    return [given]


def _below(folder: str, may_be_empty: bool = False) -> list[str]:
    """Return every file in a folder with the ending of an image, at any depth, sorted, hidden ones left out."""
    from leannet_runtime.images import image_extensions

    def stop(error: OSError) -> None:
        why = error.strerror or str(error)
        raise UserError(f"cannot read folder {error.filename}", why, "Make it readable, or leave it out") from error

    images = []
    for where, folders, files in os.walk(folder, onerror=stop):
        folders[:] = [name for name in folders if not name.startswith(".")]
        shown = [name for name in files if not name.startswith(".")]
        images += [Path(where, name) for name in shown if Path(name).suffix.lower() in image_extensions()]
    if not images and not may_be_empty:
        raise UserError(f"no images in {folder}", "no file has the ending of one, such as .jpg", "Give another folder")
    return [str(path) for path in sorted(images)]
