"""What was found out about images, remembered on disk until their files change.

The store is a convenience: where it is missing, damaged, locked or cannot be written, images are decoded again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import PIL

from leannet.data.split import Split
from leannet_runtime.files import cache_folder
from leannet_runtime.images import DECODER_VERSION

__all__ = ["Mark", "Verdict", "load_verdicts", "marks_of", "save_verdicts"]

# Another rule of decoding, or another pillow, may judge differently.
RULE = f"{DECODER_VERSION} {PIL.__version__}"

LOCK_SECONDS = 5.0

TABLE = "CREATE TABLE IF NOT EXISTS verdicts (image BLOB PRIMARY KEY, stamp BLOB, pixels BLOB, why TEXT) WITHOUT ROWID"


class Verdict(NamedTuple):
    """What decoding an image came to: a hash of its pixels, or why it cannot be decoded."""

    pixels: bytes | None
    why: str | None


class Mark(NamedTuple):
    """Which image (its path and row), and in which state (size, time of change, rule of decoding); both hashed."""

    image: bytes
    stamp: bytes


def marks_of(split: Split) -> list[Mark | None]:
    """Return the mark of each image of a split; None where its changes could not be noticed."""

    @functools.lru_cache(maxsize=8)  # the rows of a file follow one another
    def state(path: Path) -> tuple[Path, int, int] | None:
        try:
            status = path.stat()
        except OSError:
            return None
        return path.absolute(), status.st_size, status.st_mtime_ns

    marks: list[Mark | None] = []
    for index in range(len(split)):
        place = split.place(index)
        known = state(place[0]) if place else None
        if place is None or known is None:
            marks.append(None)
            continue
        path, size, changed = known
        marks.append(Mark(_hash(f"{path}\0{place[1]}", 16), _hash(f"{size} {changed} {RULE}", 8)))
    return marks


def load_verdicts(marks: list[Mark | None]) -> dict[int, Verdict]:
    """Return what is remembered, by position in `marks`."""
    found: dict[int, Verdict] = {}
    with contextlib.suppress(sqlite3.Error, OSError), _opened() as store:
        for position, mark in enumerate(marks):
            if mark is None:
                continue
            row = store.execute("SELECT pixels, why FROM verdicts WHERE image = ? AND stamp = ?", mark).fetchone()
            if row is not None:
                found[position] = Verdict(*row)
    return found


def save_verdicts(verdicts: dict[Mark, Verdict]) -> None:
    """Remember verdicts, in place of older ones on the same images."""
    if not verdicts:
        return
    rows = [(*mark, *verdict) for mark, verdict in verdicts.items()]
    with contextlib.suppress(sqlite3.Error, OSError), _opened() as store, store:
        store.executemany("INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?, ?)", rows)


@contextlib.contextmanager
def _opened() -> Iterator[sqlite3.Connection]:
    path = cache_folder() / "verdicts.sqlite"
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(path, timeout=LOCK_SECONDS)) as store:
        try:
            store.execute(TABLE)
            yield store
        except sqlite3.OperationalError:  # locked by another process, no space, no permission
            raise
        except sqlite3.DatabaseError:  # damaged: let the next run begin a new one
            path.unlink(missing_ok=True)
            raise


def _hash(text: str, size: int) -> bytes:
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=size).digest()
