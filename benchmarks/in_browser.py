"""What a page of ``leannet export --web`` answers in a browser, against PyTorch, and how quickly.

    python benchmarks/in_browser.py PAGE MODEL_FOLDER DATA [--images 50] [--output FILE.json]

PAGE is the folder that was written from MODEL_FOLDER. The images are taken evenly from the test part of DATA (else from
the validation part), and are given to the page as the files they are, in Chromium without a screen, one after the
other. The time is that of the network with its preprocessing, without decoding; the first image is left out of the
median. The exit code is 3 where fewer than --least-agreement percent of the answers are those of PyTorch.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import http.server
import io
import json
import shutil
import statistics
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

import leannet
from leannet.data import Split, open_source
from leannet.training import environment

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PATIENCE = 300_000  # milliseconds until the page counts as broken


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("data")
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--least-agreement", type=float, default=98.0, help="percent")
    parser.add_argument("--output", type=Path, default=Path("results/in_browser.json"))
    return parser.parse_args()


def main() -> None:
    arguments = read_arguments()
    part, split = open_source(arguments.data).held_out
    count = min(arguments.images, len(split))
    files = [encoded(split, int(index)) for index in np.linspace(0, len(split) - 1, count).round()]
    predictor = leannet.load(arguments.model)
    expected = predictor.predict(files, topk=predictor.num_classes)
    with serving(arguments.page) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        version = browser.version
        found = answers(browser.new_page(), address, files)
        browser.close()
    differences = []
    for mine, theirs in zip(found, expected, strict=True):
        likely = dict(zip(theirs.labels, theirs.probabilities, strict=True))
        differences.append(max(abs(value - likely[label]) for label, value in mine["best"]))
    agreed = sum(mine["best"][0][0] == theirs.labels[0] for mine, theirs in zip(found, expected, strict=True))
    times = [each["milliseconds"] for each in found[1:]]
    record = {
        "environment": environment(),
        "browser": f"Chromium {version}",
        "network": predictor.description["architecture"],
        "weights_sha256": predictor.sha256,
        "data": {"name": Path(arguments.data).name, "part": part, "images": count},
        "agreement_percent": 100 * agreed / count,
        "largest_probability_difference": max(differences),
        "median_milliseconds": statistics.median(times),
        "slowest_milliseconds": max(times),
        "page_bytes": sizes(arguments.page),
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(record, indent=1) + "\n")
    for name in ("agreement_percent", "largest_probability_difference", "median_milliseconds", "page_bytes"):
        print(f"{name:32} {json.dumps(record[name])}")
    print(f"written to {arguments.output}")
    sys.exit(0 if record["agreement_percent"] >= arguments.least_agreement else 3)


def find_chromium() -> str:
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if found is None:
        sys.exit(f"no browser is there: none of {', '.join(CHROMIUM)}")
    return found


def encoded(split: Split, index: int) -> bytes:
    """Return an image as the file it is; of pictures that lie in no file, a PNG file."""
    found = split.images.encoded(int(split.rows[index]))
    if isinstance(found, Image.Image):
        stream = io.BytesIO()
        found.save(stream, "PNG")
        return stream.getvalue()
    return found if isinstance(found, bytes) else found.read_bytes()


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine while the context lasts, as ``python -m http.server`` does."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def answers(page: Page, address: str, files: list[bytes]) -> list[dict[str, Any]]:
    """Return what the page shows for each file: labels with probabilities, and the time."""
    page.goto(address)
    page.locator("#status", has_text="Ready.").wait_for(timeout=PATIENCE)
    found = []
    for number, content in enumerate(files, start=1):
        name = f"image {number}"
        page.set_input_files("#files", {"name": name, "mimeType": "image/*", "buffer": content})
        page.locator("#status", has_text=f"{name}:").wait_for(timeout=PATIENCE)
        newest = page.locator("#answers article").first
        if newest.locator("li").count() == 0:
            sys.exit(f"the page: {newest.text_content()}")
        found.append(newest.evaluate(READ))
    return found


READ = """article => ({
  best: [...article.querySelectorAll("li")].map(
    (item) => [item.querySelector("span").textContent, Number(item.querySelector("data").value)]),
  milliseconds: Number(article.querySelector("p data").value),
})"""


def sizes(folder: Path) -> dict[str, int]:
    """Return the bytes of the network, of what runs it, and of the rest."""
    found = {"network": 0, "runtime": 0, "page": 0}
    for path in folder.rglob("*"):
        if path.is_file():
            kind = "network" if path.suffix == ".onnx" else "page" if path.parent == folder else "runtime"
            found[kind] += path.stat().st_size
    return found


if __name__ == "__main__":
    main()
