"""Time of one forward pass: EfficientNet-B0 against its DMP forms, and MobileNetV2 against SM_V2.

    python benchmarks/latency.py [--threads 2] [--batch-sizes 1,8] [--rounds 40] [--sessions 5]
                                 [--backends eager,onnxruntime,openvino,executorch]

Networks of one table are timed in turns, in an order that is shuffled anew in each round; the ratio is the median over
the rounds of (time / time of the first network in the same round), with a bootstrap interval. For each session all
networks are loaded anew, for it matters where one happens to lie in memory, and no round tells. Every form is checked
to answer like the network it was made from, on two photographs, before it is timed. "no reorders" is the same graph in
words for which ONNX Runtime need not leave its own layout of memory (see `reorders.py`). ExecuTorch takes all cores.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import timm
import torch
from sklearn.datasets import load_sample_images
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import nn
from torchvision import transforms

import leannet
from leannet.deploy.backends import openvino_config, session_options
from leannet.deploy.formats.network_graph import network_program
from leannet.measure.bench import median_interval
from leannet.training import environment
from reorders import without_reorders

IMG_SIZE = 224
CLASSES = 10
NO_REORDERS = ", no reorders"
WARM_UP = 3  # rounds of each session that are not counted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch-sizes", default="1,8")
    parser.add_argument("--rounds", type=int, default=40, help="of all sessions together")
    parser.add_argument("--sessions", type=int, default=5)
    parser.add_argument("--backends", default="eager,onnxruntime")
    parser.add_argument("--output", type=Path, default=Path("results/latency.json"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows: list[dict[str, Any]] = []
    for backend in arguments.backends.split(","):
        for batch_size in map(int, arguments.batch_sizes.split(",")):
            for models in (dmp_forms(), sm_v2_pair()):
                networks = VARIANTS[backend](models) if backend in VARIANTS else models
                images = torch.randn(batch_size, 3, IMG_SIZE, IMG_SIZE, generator=torch.Generator().manual_seed(0))
                load = partial(load_all, backend, networks, images, arguments.threads)
                rows += measure(load, backend, batch_size, arguments)
    record = {"environment": environment(), "img_size": IMG_SIZE, "classes": CLASSES, "seed": 0, "rows": rows}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(record, indent=1) + "\n")
    print(f"written to {arguments.output}")


def load_all(
    backend: str, networks: dict[str, nn.Module], images: torch.Tensor, threads: int
) -> dict[str, Callable[[str], float]]:
    """Load all networks of a table, each into memory of its own."""
    return {name: BACKENDS[backend](name, copy.deepcopy(model), images, threads) for name, model in networks.items()}


@cache
def dmp_forms() -> dict[str, nn.Module]:
    """Return EfficientNet-B0 and the forms of its DMP network, all of the same weights where they share layers."""
    dmp = "efficientnet_b0_dmp"
    models = {
        "efficientnet_b0": make("efficientnet_b0"),
        f"{dmp} as trained": make(dmp),
        f"{dmp} grouped": make(dmp, lambda model: leannet.fuse(model, "grouped")),
        f"{dmp} planes": make(dmp, leannet.fuse),
        f"{dmp} branches": make(dmp, lambda model: leannet.fuse(model, "branches")),
    }
    check_equal([model for name, model in models.items() if name.startswith(dmp)])
    return models


@cache
def sm_v2_pair() -> dict[str, nn.Module]:
    """Return MobileNetV2 and SM_V2."""
    return {name: make(name) for name in ("mobilenetv2_100", "sm_v2")}


def with_each(ending: str) -> Callable[[dict[str, nn.Module]], dict[str, nn.Module]]:
    """Return what adds each network once more, to be run in another way."""
    return lambda models: {**models, **{f"{name}{ending}": model for name, model in models.items()}}


def runnable(models: dict[str, nn.Module]) -> dict[str, nn.Module]:
    """Leave out the form that ExecuTorch compiles but cannot run with an open number of images."""
    return {name: model for name, model in models.items() if not name.endswith("planes")}


VARIANTS = {
    "eager": with_each(", channels_last"),
    "onnxruntime": with_each(NO_REORDERS),
    "executorch": runnable,
}


def make(name: str, change: Callable[[nn.Module], object] | None = None) -> nn.Module:
    """Make a network with norm statistics that are not the identity."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=CLASSES)
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(cast("torch.Tensor", module.running_mean), 0, 0.1, generator=generator)
            nn.init.uniform_(cast("torch.Tensor", module.running_var), 0.5, 1.5, generator=generator)
    model.eval()
    if change is not None:
        change(model)
    return model


def check_equal(models: list[nn.Module]) -> None:
    images = photographs()
    with torch.inference_mode():
        expected, *others = [model(images) for model in models]
    for logits in others:
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)


def photographs() -> torch.Tensor:
    """Return the two that scikit-learn ships, normalised."""
    scale = transforms.Compose(
        [
            transforms.ToTensor(),
            transforms.Resize((IMG_SIZE, IMG_SIZE), antialias=True),
            transforms.Normalize(IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD),
        ]
    )
    return torch.stack([scale(image.copy()) for image in load_sample_images().images])


def eager(_: str, model: nn.Module, images: torch.Tensor, __: int) -> Callable[[str], float]:
    def call(name: str) -> float:
        memory_format = torch.channels_last if name.endswith("channels_last") else torch.contiguous_format
        model.to(memory_format=memory_format)
        ready = images.contiguous(memory_format=memory_format)
        with torch.inference_mode():
            model(ready)  # brings the weights of this network back into the cache, and is not counted
            start = time.perf_counter()
            model(ready)
        return time.perf_counter() - start

    return call


def onnx_runtime(name: str, model: nn.Module, images: torch.Tensor, threads: int) -> Callable[[str], float]:
    import onnxruntime

    content = exported(name.removesuffix(NO_REORDERS), model)
    if name.endswith(NO_REORDERS):
        content = without_reorders(content)
    session = onnxruntime.InferenceSession(content, session_options(threads), providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: images.numpy()}
    return second_run(lambda: session.run(None, feed)[0], model, images)


def openvino(name: str, model: nn.Module, images: torch.Tensor, threads: int) -> Callable[[str], float]:
    from leannet.deploy.formats.openvino_core import openvino_core  # needs the extra packages

    core = openvino_core()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(exported(name, model))
        compiled = core.compile_model(core.read_model(path), "CPU", openvino_config(threads))
    request, ready = compiled.create_infer_request(), images.numpy()
    return second_run(lambda: request.infer([ready])[compiled.output(0)], model, images)


def executorch(name: str, model: nn.Module, images: torch.Tensor, _: int) -> Callable[[str], float]:
    from leannet.deploy.formats.executorch_file import MOST_IMAGES, compile_program, program_runner  # needs its package

    if name not in PROGRAMS:
        PROGRAMS[name] = compile_program(network_program(model, IMG_SIZE, name, MOST_IMAGES), name)
    run, ready = program_runner(PROGRAMS[name]), images.numpy()
    return second_run(lambda: run(ready)[0], model, images)


def second_run(run: Callable[[], Any], model: nn.Module, images: torch.Tensor) -> Callable[[str], float]:
    """Check that a runtime answers like the network; return what times it, after a run that is not counted."""
    with torch.inference_mode():
        np.testing.assert_allclose(run(), model(images).numpy(), rtol=1e-3, atol=1e-4)

    def call(_: str) -> float:
        run()
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    return call


BACKENDS: dict[str, Callable[[str, nn.Module, torch.Tensor, int], Callable[[str], float]]] = {
    "eager": eager,
    "onnxruntime": onnx_runtime,
    "openvino": openvino,
    "executorch": executorch,
}


PROGRAMS: dict[str, bytes] = {}
"""Of ExecuTorch, by the name of the network; it takes half a minute to compile one."""

FILES: dict[str, bytes] = {}
"""ONNX, by the name of the network."""


def exported(name: str, model: nn.Module) -> bytes:
    """Export a network to ONNX, batch size dynamic, weights inside."""
    if name in FILES:
        return FILES[name]
    model.to(memory_format=torch.contiguous_format)
    example = torch.randn(2, 3, IMG_SIZE, IMG_SIZE)
    shapes = ({0: torch.export.Dim.DYNAMIC},)
    program = torch.onnx.export(model, (example,), dynamo=True, dynamic_shapes=shapes, verbose=False)
    assert program is not None
    FILES[name] = program.model_proto.SerializeToString()
    return FILES[name]


def measure(
    load: Callable[[], dict[str, Callable[[str], float]]], backend: str, batch_size: int, arguments: argparse.Namespace
) -> list[dict[str, Any]]:
    """Time all networks of a table in turns and print it."""
    shuffle = random.Random(0).shuffle
    sessions = [load() for _ in range(arguments.sessions)]  # together, so that none lies where another one lay
    order = list(sessions[0])
    seconds: dict[str, list[float]] = {name: [] for name in order}
    for session, calls in enumerate(sessions):
        rounds = len(range(session, arguments.rounds, arguments.sessions))
        for number in range(rounds + WARM_UP):
            shuffle(order)
            for name in order:
                elapsed = calls[name](name)
                if number >= WARM_UP:
                    seconds[name].append(elapsed)
    reference = next(iter(seconds))
    length = f"{arguments.rounds} rounds in {arguments.sessions} sessions"
    print(f"\n{backend}, batch {batch_size}, {arguments.threads} threads, {length}")
    print(f"{'network':45} {'median ms':>10} {'ratio':>7}  95 % interval")
    rows = []
    for name, times in seconds.items():
        ratios = [one / other for one, other in zip(times, seconds[reference], strict=True)]
        ratio = median_interval(ratios)
        row = {
            "backend": backend,
            "batch_size": batch_size,
            "threads": arguments.threads,
            "rounds": arguments.rounds,
            "sessions": arguments.sessions,
            "network": name,
            "reference": reference,
            "median_ms": round(1000 * statistics.median(times), 4),
            "ratio": round(ratio.value, 4),
            "ratio_low": round(ratio.low, 4),
            "ratio_high": round(ratio.high, 4),
        }
        rows.append(row)
        print(f"{name:45} {row['median_ms']:10.2f} {ratio.value:7.3f}  {ratio.low:.3f} - {ratio.high:.3f}", flush=True)
    return rows


if __name__ == "__main__":
    main()
