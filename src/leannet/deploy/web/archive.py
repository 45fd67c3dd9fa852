"""ONNX Runtime for browsers: fetched from the npm registry once, checked against its hash, and only then opened."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import tarfile
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from leannet_runtime import UserError
from leannet_runtime.files import cache_folder, make_folder, write_file

__all__ = ["ONNXRUNTIME_WEB", "Archive", "runtime_files"]

TIMEOUT = 60  # seconds without an answer


@dataclass(frozen=True)
class Archive:
    """A package of the npm registry, pinned by its hash.

    Args:
        name: Of the package, with its version.
        url: Where the registry has it.
        sha512: Of the archive, in base64, as npm writes it behind ``sha512-``.
        size: In bytes.
        members: What is needed of it: the name in the archive, and the name that the file gets.
    """

    name: str
    url: str
    sha512: str
    size: int
    members: tuple[tuple[str, str], ...]


ONNXRUNTIME_WEB = Archive(
    name="onnxruntime-web 1.30.0",
    url="https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-1.30.0.tgz",
    sha512="q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
    size=33_106_585,
    members=(
        ("package/dist/ort.wasm.bundle.min.mjs", "ort.wasm.bundle.min.mjs"),
        ("package/dist/ort-wasm-simd-threaded.wasm", "ort-wasm-simd-threaded.wasm"),
    ),
)
"""The newest that npm has; it may lag behind the onnxruntime of Python, which numbers its versions in step."""


def runtime_files(
    given: Path | None = None, archive: Archive = ONNXRUNTIME_WEB, on_step: Callable[[str], None] | None = None
) -> dict[str, bytes]:
    """Return the files that run a network in a browser, by name.

    The archive is kept in `leannet_runtime.files.cache_folder` and not fetched again. Its hash is compared each time
    before any of it is read, and only files with exactly the names that are needed are taken out of it.

    Args:
        given: The archive as a file, for machines without network; nothing is fetched or kept then.
        archive: Which one.
        on_step: Told what is done now.

    Raises:
        UserError: The archive cannot be fetched or read, or is another one.
    """
    if given is not None:
        return _members(_read_given(given, archive), archive)
    kept = cache_folder() / archive.url.rpartition("/")[2]
    with contextlib.suppress(OSError):
        content = kept.read_bytes()
        if _is_right(content, archive):
            return _members(content, archive)
    if on_step is not None:
        on_step(f"fetching {archive.name}, {archive.size / 2**20:.0f} MiB, from {archive.url}, once")
    content = _fetch(archive)
    with contextlib.suppress(UserError):  # without a place to keep it, it is fetched each time
        make_folder(kept.parent)
        write_file(kept, lambda temporary: temporary.write_bytes(content))
    return _members(content, archive)


def _read_given(path: Path, archive: Archive) -> bytes:
    remedy = f"Give the file of {archive.url}"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}", error.strerror or str(error), remedy) from error
    if not _is_right(content, archive):
        raise UserError(f"cannot use {path}", f"its hash is not that of {archive.name}", remedy)
    return content


def _fetch(archive: Archive) -> bytes:
    what = f"cannot fetch {archive.name}"
    remedy = f"Fetch {archive.url} where there is a network, and pass it: --web-runtime FILE"
    try:
        with urllib.request.urlopen(archive.url, timeout=TIMEOUT) as answer:
            content: bytes = answer.read(archive.size + 1)
    except (OSError, HTTPException) as error:
        raise UserError(what, f"the npm registry cannot be reached ({error})", remedy) from error
    if not _is_right(content, archive):
        why = f"what {archive.url} sent has another hash than the one known here"
        raise UserError(what, why, "Nothing was kept; try again, or pass the archive: --web-runtime FILE")
    return content


def _is_right(content: bytes, archive: Archive) -> bool:
    return base64.b64encode(hashlib.sha512(content).digest()).decode() == archive.sha512


def _members(content: bytes, archive: Archive) -> dict[str, bytes]:
    """Take the files out of an archive whose hash is right, so that all of them are there."""
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as opened:
        found = {}
        for inside, name in archive.members:
            file = opened.extractfile(inside)
            assert file is not None, f"{inside} of {archive.name} is no ordinary file"
            found[name] = file.read()
    return found
