"""Where the time of a network goes: its operators in ONNX Runtime and OpenVINO, by kind.

    python benchmarks/operators.py [--threads 2] [--batch-size 1] [--runs 60] [--networks A,B ...]

Each group of networks runs in turns, with the profiler of the runtime on; the first is the reference. What stands there
is milliseconds a run, the mean of the runs of several copies, for it matters where one lies in memory. The profiler
costs time itself, so sums are above what `leannet bench` measures; shares are what it is good for. "reorders" are
copies into another layout of memory; "fewer reorders" is said in `reorders.py`. Networks with Duplicate Max-pooling
have the form in which `leannet export` ships them for the runtime.
"""

from __future__ import annotations

import argparse
import collections
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

from leannet.deploy.backend_files import Exports
from leannet.deploy.backends import openvino_config, session_options
from leannet.measure.bench import COPIES
from leannet.models import create_network
from leannet.training import environment
from leannet_runtime.formats import FileFormat
from reorders import fewer_reorders

GROUPS = [
    ["efficientnet_b0", "efficientnet_b0_dmp"],
    ["mobilenetv2_100", "sm_v2"],
    ["mobilenetv2_bias", "mobilenetv2_optimised", "mobilenetv2_cse"],
]
REWORDED = [GROUPS[0]]
"""Groups that are profiled once more in the words of `reorders.py`."""

CLASSES, IMG_SIZE, WARM_UP = 10, 224, 5
REORDERS = ("ReorderInput", "ReorderOutput", "Reorder", "Transpose")
SHIPPED: dict[str, FileFormat] = {"onnxruntime": "onnx", "openvino": "openvino"}

Profile: TypeAlias = tuple[Callable[[], object], Callable[[], dict[str, float]]]
"""Runs the network once, and returns the milliseconds of all runs so far by kind of operator."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", help="groups of names, with commas; the papers' by default")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--runs", type=int, default=60, help="of each copy")
    parser.add_argument("--copies", type=int, default=COPIES)
    parser.add_argument("--output", type=Path, default=Path("results/operators.json"))
    arguments = parser.parse_args()
    groups = [names.split(",") for names in arguments.networks or ()] or GROUPS
    exports, rows = Exports(), []
    images = torch.randn(arguments.batch_size, 3, IMG_SIZE, IMG_SIZE, generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory() as folder:
        for backend, profile in (("onnxruntime", onnx_runtime), ("openvino", openvino)):
            for names in groups:
                files = {name: exported(name, images, exports, SHIPPED[backend]) for name in names}
                if backend == "onnxruntime" and names in REWORDED:
                    files |= {f"{name}, fewer reorders": fewer_reorders(file) for name, file in files.items()}
                profiles = {
                    name: [
                        profile(file, images.numpy(), arguments.threads, Path(folder, f"{name} {number}"))
                        for number in range(arguments.copies)
                    ]
                    for name, file in files.items()
                }
                rows += measure(profiles, backend, arguments.runs)
    record = {
        "environment": environment(),
        "img_size": IMG_SIZE,
        "classes": CLASSES,
        "batch_size": arguments.batch_size,
    }
    record |= {name: getattr(arguments, name) for name in ("threads", "runs", "copies")} | {"rows": rows}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"written to {arguments.output}")


def exported(name: str, images: torch.Tensor, exports: Exports, file_format: FileFormat) -> bytes:
    torch.manual_seed(0)
    network = create_network(name, num_classes=CLASSES, img_size=IMG_SIZE).eval()
    return exports.file_of(network, images, file_format)


def measure(profiles: dict[str, list[Profile]], backend: str, runs: int) -> list[dict[str, Any]]:
    """Run the networks in turns, and print what each kind of operator takes."""
    for _ in range(WARM_UP + runs):
        for several in zip(*profiles.values(), strict=True):
            for run, _read in several:
                run()
    found: dict[str, dict[str, float]] = {}
    for name, copies in profiles.items():
        total: collections.Counter[str] = collections.Counter()
        for _run, read in copies:
            total.update(read())
        found[name] = {kind: milliseconds / runs / len(copies) for kind, milliseconds in total.items()}
    kinds = sorted(
        {kind for each in found.values() for kind in each}, key=lambda kind: -found[next(iter(found))].get(kind, 0)
    )
    print(f"\n{backend:22}" + "".join(f"{name:>24}" for name in found))
    for kind in kinds:
        if max(each.get(kind, 0) for each in found.values()) >= 0.02:
            print(f"{kind:22}" + "".join(f"{each.get(kind, 0):24.2f}" for each in found.values()))
    print(f"{'all':22}" + "".join(f"{sum(each.values()):24.2f}" for each in found.values()), flush=True)
    return [
        {"backend": backend, "network": name, "milliseconds": {kind: round(ms, 4) for kind, ms in each.items()}}
        for name, each in found.items()
    ]


def onnx_runtime(file: bytes, images: np.ndarray[Any, Any], threads: int, place: Path) -> Profile:
    """Read the trace that onnxruntime writes."""
    import onnxruntime

    options = session_options(threads)
    options.enable_profiling, options.profile_file_prefix = True, str(place)
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: images}

    def read() -> dict[str, float]:
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        nodes = [each for each in events if each["cat"] == "Node" and each["name"].endswith("_kernel_time")]
        runs = [each["ts"] for each in events if each["name"] == "model_run"]
        begin = sorted(runs)[WARM_UP]
        sums: collections.Counter[str] = collections.Counter()
        for node in nodes:
            if node["ts"] >= begin:
                sums[kind_of(node["args"]["op_name"])] += node["dur"] / 1000
        return dict(sums)

    return lambda: session.run(None, feed), read


def openvino(file: bytes, images: np.ndarray[Any, Any], threads: int, _: Path) -> Profile:
    """Add up OpenVINO's counters, which are those of the last run."""
    from leannet.deploy.formats.openvino_core import openvino_core  # needs the extra packages

    core, config = openvino_core(), {**openvino_config(threads), "PERF_COUNT": True}
    compiled = core.compile_model(core.read_model(io.BytesIO(file)), "CPU", config)
    request, sums = compiled.create_infer_request(), collections.Counter[str]()
    done = 0

    def run() -> None:
        nonlocal done
        request.infer([images], share_inputs=True)
        done += 1
        if done > WARM_UP:
            for node in request.get_profiling_info():
                sums[kind_of(node.node_type)] += node.real_time.total_seconds() * 1000

    return run, lambda: dict(sums)


def kind_of(operator: str) -> str:
    return "reorders" if operator in REORDERS else operator


if __name__ == "__main__":
    main()
