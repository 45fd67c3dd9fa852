"""A folder with a page that classifies images in the browser."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from leannet.deploy.export import Exported
from leannet.deploy.web.archive import ONNXRUNTIME_WEB
from leannet_runtime import UserError
from leannet_runtime.files import file_sha256, make_folder, write_file, write_json
from leannet_runtime.images import MOST_PIXELS
from leannet_runtime.predictor import LARGE_PIXELS
from leannet_runtime.preprocessing import LONGEST

__all__ = ["MODEL_FILE", "WebPage", "check_folder", "write_page"]

MODEL_FILE = "model.onnx"
DESCRIPTION_FILE = "model.json"
RUNTIME_FOLDER = "onnxruntime-web"

FORMAT = 1
"""The form of ``model.json``, by which a page of leannet is known."""

# The archive of npm holds no text of its licence, which asks for being passed on with the files.
LICENCE = """\
ONNX Runtime Web (https://github.com/microsoft/onnxruntime)

MIT License

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""


@dataclass(frozen=True)
class WebPage:
    """A written page.

    Args:
        folder: Where it lies.
        model: Size of the network's file, in bytes.
        runtime: Size of what runs it, in bytes.
        own: Size of everything else, in bytes.
    """

    folder: Path
    model: int
    runtime: int
    own: int


def check_folder(folder: Path) -> None:
    """Make sure that a page may be written into a folder: a new or empty one, or one with an earlier page.

    Raises:
        UserError: Something else lies there, and the page would write over it.
    """
    what = f"cannot write the page to {folder}"
    try:
        there = sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(what, error.strerror or str(error), "Give a new folder") from error
    if there and not _is_page(folder):
        raise UserError(what, f"the folder holds {there[0]}, and no earlier page of leannet", "Give a new folder")


def write_page(exported: Exported, folder: Path, runtime: Mapping[str, bytes]) -> WebPage:
    """Write all that belongs to the page around a network that `export_network` wrote into the folder.

    The answers are those of the exported file. Pictures above `leannet_runtime.predictor.LARGE_PIXELS` are resized by
    the page as pillow does it, smaller ones by the file.

    Args:
        exported: With the preprocessing inside; its file is `MODEL_FILE` in the folder.
        folder: See `check_folder`.
        runtime: What runs it, see `leannet.deploy.web.archive.runtime_files`.

    Raises:
        UserError: Something cannot be written.
    """
    site = resources.files("leannet.deploy.web") / "site"
    own = {each.name: each.read_bytes() for each in site.iterdir() if each.is_file()}
    own["look.css"] = _look().encode()
    make_folder(folder / RUNTIME_FOLDER)
    for name, content in runtime.items():
        _write(folder / RUNTIME_FOLDER / name, content)
    _write(folder / RUNTIME_FOLDER / "LICENSE.txt", LICENCE.encode())
    for name, content in own.items():
        _write(folder / name, content)
    size = sum(map(len, runtime.values()))
    write_json(folder / DESCRIPTION_FILE, _describe(exported, size))
    others = sum(map(len, own.values())) + (folder / DESCRIPTION_FILE).stat().st_size + len(LICENCE)
    return WebPage(folder, exported.path.stat().st_size, size, others)


def _describe(exported: Exported, runtime_bytes: int) -> dict[str, Any]:
    """Return what the page must know of the network."""
    from leannet.deploy.formats.preprocessing_graph import tall_first  # needs the extra packages

    preprocessing = exported.network.preprocessing
    return {
        "leannet_page": FORMAT,
        "file": MODEL_FILE,
        "bytes": exported.path.stat().st_size,
        "sha256": file_sha256(exported.path),
        "runtime": {"name": ONNXRUNTIME_WEB.name, "bytes": runtime_bytes},
        "preparing": {
            "most_pixels": MOST_PIXELS,
            "large_pixels": LARGE_PIXELS,
            "longest": LONGEST,
            "short": math.floor(preprocessing.img_size / preprocessing.crop_pct),
            "interpolation": preprocessing.interpolation,
            "tall_first": tall_first(),
        },
        "description": exported.description,
    }


def _is_page(folder: Path) -> bool:
    try:
        found = json.loads((folder / DESCRIPTION_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and "leannet_page" in found


def _look() -> str:
    """Return the style of the page of ``leannet serve``, so that both look alike."""
    page = (resources.files("leannet_runtime") / "serving" / "page.html").read_text(encoding="utf-8")
    style = re.search(r"<style>\n(.*?)</style>", page, re.DOTALL)
    assert style is not None, "the page of leannet serve has no style"
    return style[1]


def _write(path: Path, content: bytes) -> None:
    write_file(path, lambda temporary: temporary.write_bytes(content))
