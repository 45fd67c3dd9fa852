"""Damaged and hostile files for every reader of files: does each end with an answer or with one clear refusal?

    nice python benchmarks/reliability/fuzz.py [--minutes 10] [--seed 0]

Real files are made (images by pillow, an exported network by onnx, a model folder by leannet), then changed: bytes
flipped, cut, repeated and put in, values replaced by hostile ones. Hypothesis draws the changes. Anything that a reader
raises besides `UserError` (or, for the bytes of an ONNX file, `NotOnnx`) counts as a crash, and so does a case that
takes more than ten seconds of the processor. The first file of each kind of crash is kept beside the results. A case is
written down before it is tried, so that one that ends the process is found too (``last_case`` in the temporary folder).
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from fuzz_seeds import changed_bytes, changed_json, image_seeds, list_seeds, onnx_seeds, recipe_seeds
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from leannet_runtime import UserError

SLOWEST = 10.0  # seconds
EXAMPLES = 200  # of hypothesis in one go; then the clock is looked at


class Target(NamedTuple):
    """A reader, and what it is given.

    Args:
        read: Reads the bytes of a file; what it may raise stands in `refusals`.
        files: Draws them.
        refusals: The exceptions that are an answer.
    """

    read: Callable[[bytes], object]
    files: st.SearchStrategy[bytes]
    refusals: tuple[type[Exception], ...] = (UserError,)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="for all readers together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("results/reliability/fuzz.json"))
    arguments = parser.parse_args()
    folder = arguments.output.parent / "fuzz_crashes"
    with tempfile.TemporaryDirectory() as name:
        readers = targets(Path(name))
        share = 60 * arguments.minutes / len(readers)
        rows = [
            {"reader": reader, **fuzz(target, share, arguments.seed, folder / reader)}
            for reader, target in readers.items()
        ]
    from leannet.training import environment

    crashes = sum(len(row["crashes"]) for row in rows)
    record = {
        "environment": environment(),
        "seed": arguments.seed,
        "cases": sum(row["cases"] for row in rows),
        "kinds_of_crashes": crashes,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        "readers": rows,
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"{'reader':16}{'cases':>10}{'answered':>10}{'refused':>10}{'slowest s':>11}  crashes")
    for row in rows:
        kinds = "; ".join(row["crashes"]) or "none"
        counts = "".join(f"{row[name]:10,}" for name in ("cases", "answered", "refused"))
        print(f"{row['reader']:16}{counts}{row['slowest']:11.2f}  {kinds}")
    print(f"written to {arguments.output}")
    sys.exit(1 if crashes else 0)


def targets(folder: Path) -> dict[str, Target]:
    """Make the sound files below a folder, and return the readers by name."""
    from leannet.data.formats.lists import find_list, is_list
    from leannet.early_exit import read_policy
    from leannet.models import create_network
    from leannet.training import load_recipe, load_saved_network, save_model_folder
    from leannet_runtime import ModelFile, Preprocessing, decode_image
    from leannet_runtime.onnx_wire import NotOnnx, read_facts
    from leannet_runtime.serving.predictions import image_size

    model = folder / "model"
    save_model_folder(create_network("resnet20_cifar", num_classes=3), model, ("a", "b", "c"), Preprocessing(32))
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    config["early_exit"] = {"thresholds": [0.5, 0.5], "rule": "confidence", "temperatures": [1, 1, 1], "patience": 2}
    config["early_exit"]["ensemble"] = False

    def through(path: Path, *read: Callable[[Path], object]) -> Callable[[bytes], object]:
        def write_and_read(data: bytes) -> None:
            path.write_bytes(data)
            for each in read:
                each(path)

        return write_and_read

    def read_image(data: bytes) -> None:
        image_size(data)
        decode_image(data)

    exported, described = onnx_seeds()
    return {
        "image": Target(read_image, changed_bytes(image_seeds())),
        "any image": Target(decode_image, changed_bytes(image_seeds(others=True))),
        "model config": Target(
            through(model / "config.json", lambda path: load_saved_network(path.parent)), changed_json(config)
        ),
        "exit policy": Target(
            through(model / "config.json", lambda path: read_policy(path.parent, 3)), changed_json(config, "early_exit")
        ),
        "recipe": Target(
            through(folder / "recipe.yaml", lambda path: load_recipe(str(path))), changed_bytes(recipe_seeds())
        ),
        "list": Target(through(folder / "list.csv", is_list, find_list), changed_bytes(list_seeds())),
        "onnx bytes": Target(read_facts, changed_bytes([exported]), (NotOnnx,)),
        "onnx file": Target(through(folder / "bytes.onnx", ModelFile.open), changed_bytes([exported])),
        "onnx metadata": Target(
            through(folder / "metadata.onnx", ModelFile.open),
            changed_json(json.loads(described)).map(lambda text: onnx_seeds(text.decode("utf-8", "replace"))[0]),
        ),
    }


def fuzz(target: Target, seconds: float, start: int, folder: Path) -> dict[str, Any]:
    """Try one reader for some seconds.

    Args:
        target: The reader.
        seconds: How long; what has begun is finished.
        start: Seed.
        folder: Where files that crash it are kept; made when there is one.

    Returns:
        How many cases there were and how they ended.
    """
    counts = {"cases": 0, "answered": 0, "refused": 0}
    crashes: dict[str, str] = {}
    slowest = 0.0
    last = Path(tempfile.gettempdir()) / "last_case"

    def note(kind: str, data: bytes) -> None:
        if kind not in crashes:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{len(crashes)}.bin"
            path.write_bytes(data)
            crashes[kind] = path.as_posix()

    def attempt(data: bytes) -> None:
        nonlocal slowest
        last.write_bytes(data)
        begin = time.process_time()
        counts["cases"] += 1
        try:
            target.read(data)
            counts["answered"] += 1
        except target.refusals as refusal:
            counts["refused"] += 1
            if "\n" in str(refusal):
                note(f"a refusal of several lines: {str(refusal)[:200]!r}", data)
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            note(f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}", data)
        took = time.process_time() - begin
        slowest = max(slowest, took)
        if took > SLOWEST:
            note(f"slower than {SLOWEST:g} s", data)

    begin = time.monotonic()
    while time.monotonic() - begin < seconds:
        search = given(target.files)(attempt)
        search = settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )(search)
        seed(start)(search)()
        start += 1
    last.unlink(missing_ok=True)
    return {**counts, "slowest": slowest, "seconds": time.monotonic() - begin, "crashes": crashes}


if __name__ == "__main__":
    main()
