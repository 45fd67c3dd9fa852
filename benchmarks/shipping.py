"""What a network is worth once it is shipped: in PyTorch, as an exported file, in 8 bits, and in the browser.

    python benchmarks/shipping.py MODEL_FOLDER ... [--output FILE.json] [--browser-images 50]

Each folder is exported twice, as ``leannet export`` and ``leannet export --int8`` do it, into a temporary folder. All
three answer the whole test part of the network's own run (else its validation part), decoded by the same code.
Latency is that of one image, decoded beforehand, preprocessing included where it lies in the graph: the ways take turns
in rounds of random order, and the ratio is the median over the rounds with its 95 % interval. The browser shows
the file of 8 bits where there is one. Networks that images leave early, and those that lose too much, have no 8 bits:
the reason is recorded.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from playwright.sync_api import sync_playwright

import leannet
from in_browser import FLAGS, answers, encoded, find_chromium, serving, sizes
from leannet.data import Split
from leannet.deploy.export import Exported, Int8, export_network
from leannet.deploy.int8.outcome import DropTooLarge
from leannet.deploy.web.archive import runtime_files
from leannet.deploy.web.page import MODEL_FILE, write_page
from leannet.measure import measure_difference, wilson_interval
from leannet.measure.bench import median_interval, time_in_rounds
from leannet.training import environment
from leannet.training.runs import open_run_source
from leannet_runtime import Predictor, UserError, decode_image

BATCH = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--browser-images", type=int, default=50, help="0 leaves the browser out")
    parser.add_argument("--output", type=Path, default=Path("results/shipping.json"))
    arguments = parser.parse_args()
    record: dict[str, Any] = {"environment": environment(), "rounds": arguments.rounds, "networks": []}
    for folder in arguments.models:
        record["networks"].append(measure(folder, arguments))
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(record, indent=1) + "\n")
        print_network(record["networks"][-1])
    print(f"written to {arguments.output}")


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Export a network and measure all its forms."""
    part, split = open_run_source(folder).held_out
    files = [encoded(split, index) for index in range(len(split))]
    with tempfile.TemporaryDirectory() as place:
        exported, refused = export_both(folder, Path(place))
        ways: dict[str, Predictor] = {"pytorch": leannet.load(folder)}
        ways |= {name: leannet.load(each.path) for name, each in exported.items()}
        found = {name: answer(way, files) for name, way in ways.items()}
        forms = {name: form(name, found, split, exported) for name in ways}
        times = latency(ways, files[0], arguments.rounds)
        for name, ratio in times.items():
            forms[name] |= ratio
        browser = None
        if arguments.browser_images:
            shipped = exported.get("int8", exported["onnx"])
            browser = in_browser(shipped, files, found["pytorch"][0], arguments.browser_images, Path(place))
    return {
        "network": ways["pytorch"].description["architecture"],
        "folder": str(folder),
        "weights_sha256": ways["pytorch"].sha256,
        "part": part,
        "images": len(files),
        "img_size": ways["pytorch"].preprocessing.img_size,
        "forms": forms,
        "int8_refused": refused,
        "int8": exported["int8"].description["int8"] if "int8" in exported else None,
        "browser": browser,
    }


def export_both(folder: Path, place: Path) -> tuple[dict[str, Exported], str | None]:
    """Return the exported files by name, and why there is none of 8 bits."""
    exported = {"onnx": export_network(folder, place / "float" / MODEL_FILE)}
    try:
        exported["int8"] = export_network(folder, place / "int8" / MODEL_FILE, int8=Int8())
    except (UserError, DropTooLarge) as error:
        return exported, str(error)
    return exported, None


def answer(way: Predictor, files: list[bytes]) -> tuple[NDArray[np.int64], list[int | None]]:
    """Return the class and the exit of each image."""
    places = {name: place for place, name in enumerate(way.label_names)}
    found = way.predict(files, topk=1, batch_size=BATCH)
    return np.array([places[each.labels[0]] for each in found]), [each.exit for each in found]


def form(
    name: str,
    found: dict[str, tuple[NDArray[np.int64], list[int | None]]],
    split: Split,
    exported: dict[str, Exported],
) -> dict[str, Any]:
    """Return accuracy, agreement with PyTorch, and size."""
    classes, exits = found[name]
    own, pytorch = (torch.from_numpy(each == split.labels) for each in (classes, found["pytorch"][0]))
    size = exported[name].path.stat().st_size if name in exported else None
    return {
        "top1": asdict(wilson_interval(int(own.sum()), len(own))),
        "difference_points": asdict(measure_difference(pytorch, own).points),
        "agreement_percent": 100 * float((classes == found["pytorch"][0]).mean()),
        "exits": {str(exit): exits.count(exit) for exit in sorted({each for each in exits if each is not None})},
        "bytes": size,
        "size_ratio": None if size is None else size / exported["onnx"].path.stat().st_size,
    }


def latency(ways: dict[str, Predictor], image: bytes, rounds: int) -> dict[str, dict[str, Any]]:
    """Return milliseconds of each way, and its ratio to the exported file of float."""
    picture = decode_image(image)
    calls: dict[str, Callable[[], object]] = {
        name: partial(way.run_pixels, way.prepare(picture)[None]) for name, way in ways.items()
    }
    times = time_in_rounds(calls, rounds=rounds).seconds
    return {
        name: {
            "milliseconds": asdict(median_interval([1000 * each for each in own])),
            "ratio": asdict(median_interval([a / b for a, b in zip(own, times["onnx"], strict=True)])),
        }
        for name, own in times.items()
    }


def in_browser(
    exported: Exported, files: list[bytes], classes: NDArray[np.int64], count: int, place: Path
) -> dict[str, Any]:
    """Return what the page of a file answers in Chromium, against PyTorch."""
    page = place / "page"
    page.mkdir()
    (page / MODEL_FILE).write_bytes(exported.path.read_bytes())
    moved = Exported(
        page / MODEL_FILE, exported.network, exported.description, exported.proof, exported.quantised, "onnx"
    )
    write_page(moved, page, runtime_files(None, on_step=print))
    chosen = np.linspace(0, len(files) - 1, min(count, len(files))).round().astype(int)
    with serving(page) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        version = browser.version
        found = answers(browser.new_page(), address, [files[index] for index in chosen])
        browser.close()
    names = exported.network.class_names or tuple(map(str, range(exported.network.num_classes)))
    agreed = sum(each["best"][0][0] == names[classes[index]] for each, index in zip(found, chosen, strict=True))
    return {
        "browser": f"Chromium {version}",
        "form": "int8" if exported.quantised else "float",
        "images": len(chosen),
        "agreement_percent": 100 * agreed / len(chosen),
        "milliseconds": asdict(median_interval([each["milliseconds"] for each in found[1:]])),
        "page_bytes": sizes(page),
    }


def print_network(record: dict[str, Any]) -> None:
    print(f"\n{record['network']}, {record['images']:,} images of the {record['part']} part at {record['img_size']} px")
    for name, each in record["forms"].items():
        size = "" if each["bytes"] is None else f"{each['bytes'] / 2**20:6.2f} MiB ({each['size_ratio']:.2f})"
        top1, ratio = each["top1"], each["ratio"]
        print(
            f"  {name:8} top-1 {top1['value']:5.2f} ({top1['low']:.2f}-{top1['high']:.2f}) agreement "
            f"{each['agreement_percent']:6.2f} {each['milliseconds']['value']:8.2f} ms, ratio {ratio['value']:.2f} "
            f"({ratio['low']:.2f}-{ratio['high']:.2f}) {size} {each['exits'] or ''}"
        )
    if record["int8_refused"]:
        print(f"  no 8 bits: {record['int8_refused']}")
    if (page := record["browser"]) is not None:
        print(
            f"  browser ({page['form']}): agreement {page['agreement_percent']:.0f} % of {page['images']}, "
            f"{page['milliseconds']['value']:.1f} ms, page {sum(page['page_bytes'].values()) / 2**20:.1f} MiB"
        )


if __name__ == "__main__":
    main()
