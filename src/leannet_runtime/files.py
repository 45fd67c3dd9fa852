"""Files that are either whole or absent."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import itertools
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from leannet_runtime.errors import UserError

__all__ = [
    "cache_folder",
    "check_file",
    "file_sha256",
    "make_folder",
    "new_folder",
    "numbered_folders",
    "remove_leftovers",
    "runs_folder",
    "write_csv",
    "write_file",
    "write_files",
    "write_json",
    "write_text",
]

_SUFFIXES = (".csv", ".json", ".safetensors", ".yaml")


def check_file(path: Path) -> None:
    """Refuse a place where a file cannot belong; whoever computes for long before writing asks first.

    Raises:
        UserError: A folder is there, or a device or a pipe, which a file that is renamed would put an end to.
    """
    try:
        if not path.exists() or path.is_file():
            return
        why = "it is a folder" if path.is_dir() else "it is no ordinary file"
    except OSError as error:
        raise _cannot_write(path, error) from error
    raise UserError(f"cannot write {path}", why, "Name an ordinary file with --output")


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under a temporary name beside its place, then rename it.

    Whatever happens in between (no space, an interruption), the file that was there before stays whole. A symbolic
    link stays one: the file that it names is written.

    Args:
        path: Where the file belongs.
        write: Writes the contents to the path it is given.

    Raises:
        UserError: The file cannot be written.
    """
    write_files({path: write})


def write_files(files: Mapping[Path, Callable[[Path], object]]) -> None:
    """Write files that belong together as `write_file` does: none is renamed before all are written.

    Args:
        files: By where it belongs, what writes each; they are renamed in this order.

    Raises:
        UserError: One cannot be written.
    """
    written: dict[Path, Path] = {}
    path = Path()
    try:
        for path, write in files.items():
            check_file(path)
            place = Path(os.path.realpath(path)) if path.is_symlink() else path
            descriptor, name = tempfile.mkstemp(prefix=f".{place.name}.", dir=place.parent)
            written[place] = Path(name)
            os.close(descriptor)
            write(Path(name))
            with open(name, "rb+") as file:  # noqa: PTH123  (the descriptor is what fsync needs)
                os.fsync(file.fileno())
            Path(name).chmod(0o666 & ~_umask())
        for path, temporary in written.items():
            temporary.replace(path)
    except BaseException as error:
        for temporary in written.values():
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        # safetensors reports a full disk as an error of its own, with the system's text inside.
        if isinstance(error, OSError) or "os error" in str(error).lower():
            raise _cannot_write(path, error) from error
        raise


def remove_leftovers(folder: Path) -> None:
    """Remove what `write_file` left in a folder when its process was killed; files of anybody else stay."""
    for path in folder.glob(".*.*.????????"):
        if path.suffixes[-2] in _SUFFIXES and path.is_file():
            path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file (see `write_file`)."""
    write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_csv(path: Path, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a table with a head (see `write_file`); its lines end with a line feed, whatever the system."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_text(path, table.getvalue())


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file (see `write_file`)."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def make_folder(path: Path) -> None:
    """Make a folder with its parents; one that is there already must be writable.

    Raises:
        UserError: It cannot be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise _cannot_write(path, error) from error


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits; it is read in parts.

    Raises:
        OSError: It cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def runs_folder(verb: str) -> Path:
    """Return where the runs of a verb lie: ``runs/VERB``, or below ``$LEANNET_RUNS`` instead of ``runs``."""
    return Path(os.environ.get("LEANNET_RUNS", "runs")) / verb


def numbered_folders(verb: str, name: str) -> Iterator[Path]:
    """Yield ``runs/VERB/NAME``, ``NAME-2``, ``NAME-3`` and so on; whoever asks takes the first that suits."""
    parent = runs_folder(verb)
    yield parent / name
    yield from (parent / f"{name}-{number}" for number in itertools.count(2))


def new_folder(verb: str, name: str) -> Path:
    """Return the first of `numbered_folders` that is not there yet."""
    return next(folder for folder in numbered_folders(verb, name) if not folder.exists())


def cache_folder() -> Path:
    """Return where leannet keeps what it can make again: ``$XDG_CACHE_HOME/leannet`` or ``~/.cache/leannet``.

    The folder need not be there. A relative ``$XDG_CACHE_HOME`` is ignored, as its specification asks.
    """
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if given.is_absolute():
        return given / "leannet"
    try:
        return Path.home() / ".cache" / "leannet"
    except RuntimeError:  # a user without a home, as in some containers
        return Path(tempfile.gettempdir()) / "leannet"


def _cannot_write(path: Path, error: BaseException) -> UserError:
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    full = "no space" in why.lower() or "quota" in why.lower() or "too large" in why.lower()
    remedy = "Make room and run the command again" if full else "Choose another folder with --output"
    return UserError(f"cannot write {path}", why, remedy)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
