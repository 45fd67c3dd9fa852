"""Time of one forward pass: EfficientNet-B0 against its DMP forms, and MobileNetV2 against SM_V2.

    python benchmarks/latency.py [--threads 2] [--batch-sizes 1,8] [--rounds 60]
                                 [--backends eager,onnxruntime,openvino,executorch]

Networks of one table are timed by the instrument of ``leannet bench``: in turns, copies of each, the ratio to the first
network with its interval. Every form is checked to answer like the network it was made from, on two photographs, and
every backend to answer like PyTorch, before it is timed. Files keep the form that a network has, so that all forms
stand beside each other in all backends. "fewer reorders" is the same graph in words for which ONNX Runtime leaves its
own layout of memory less often (see `reorders.py`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import timm
import torch
from sklearn.datasets import load_sample_images
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn
from torchvision import transforms

import leannet
from leannet.deploy.backend_files import Exports
from leannet.deploy.backends import BACKENDS, Circumstances, prepare_call, stopwatch_for
from leannet.measure.bench import COPIES, LoadMeter, cpu_limits, summarise, time_in_rounds
from leannet.report.bench.networks import check_answer
from leannet.training import environment
from leannet_runtime.formats import FileFormat
from reorders import fewer_reorders

IMG_SIZE = 224
CLASSES = 10
DMP = "efficientnet_b0_dmp"


class FewerReorders(Exports):
    """Files in other words."""

    def file_of(self, model: nn.Module, images: Tensor, file_format: FileFormat = "onnx") -> bytes:
        """Return the content of the file."""
        return fewer_reorders(super().file_of(model, images, file_format))


@dataclass(frozen=True)
class Way:
    """How all networks of a table are run."""

    exports: Exports
    ending: str = ""
    channels_last: bool = False


USUAL = Way(Exports(as_they_are=True))
MORE_WAYS = {
    "eager": Way(USUAL.exports, ", channels_last", channels_last=True),
    "onnxruntime": Way(FewerReorders(as_they_are=True), ", fewer reorders"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=cpu_limits().threads)
    parser.add_argument("--batch-sizes", default="1,8")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--backends", default="eager,onnxruntime", help=f"some of {','.join(BACKENDS)}")
    parser.add_argument("--output", type=Path, default=Path("results/latency.json"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    load, rows = LoadMeter(), []
    for backend in arguments.backends.split(","):
        for batch_size in map(int, arguments.batch_sizes.split(",")):
            for networks in (dmp_forms(), sm_v2_pair()):
                rows += measure(networks, backend, batch_size, arguments)
    record = {"environment": environment(), "load": asdict(load.finish()), "img_size": IMG_SIZE, "classes": CLASSES}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps({**record, "seed": 0, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    print(f"written to {arguments.output}")


@cache
def dmp_forms() -> dict[str, nn.Module]:
    """Return EfficientNet-B0 and the forms of its DMP network, all of the same weights where they share layers."""
    forms = {
        f"{DMP} as trained": make(DMP),
        f"{DMP} grouped": make(DMP, lambda model: leannet.fuse(model, "grouped")),
        f"{DMP} planes": make(DMP, leannet.fuse),
        f"{DMP} branches": make(DMP, lambda model: leannet.fuse(model, "branches")),
    }
    images = photographs()
    with torch.inference_mode():
        expected, *others = [model(images) for model in forms.values()]
    for logits in others:
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
    return {"efficientnet_b0": make("efficientnet_b0"), **forms}


@cache
def sm_v2_pair() -> dict[str, nn.Module]:
    """Return MobileNetV2 and SM_V2."""
    return {name: make(name) for name in ("mobilenetv2_100", "sm_v2")}


def make(name: str, change: Callable[[nn.Module], object] | None = None) -> nn.Module:
    """Make a network with norm statistics that are not the identity."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=CLASSES)
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(cast("Tensor", module.running_mean), 0, 0.1, generator=generator)
            nn.init.uniform_(cast("Tensor", module.running_var), 0.5, 1.5, generator=generator)
    model.eval()
    if change is not None:
        change(model)
    return model


def photographs() -> Tensor:
    """Return the two that scikit-learn ships, normalised."""
    scale = transforms.Compose(
        [
            transforms.ToTensor(),
            transforms.Resize((IMG_SIZE, IMG_SIZE), antialias=True),
            transforms.Normalize(IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD),
        ]
    )
    return torch.stack([scale(image.copy()) for image in load_sample_images().images])


def measure(
    networks: dict[str, nn.Module], backend: str, batch_size: int, arguments: argparse.Namespace
) -> list[dict[str, Any]]:
    """Time all networks of a table in turns and print it."""
    images = torch.randn(batch_size, 3, IMG_SIZE, IMG_SIZE, generator=torch.Generator().manual_seed(0))
    calls, copies = {}, 1 if backend == "compile" else COPIES
    for way in (USUAL, *([MORE_WAYS[backend]] if backend in MORE_WAYS else [])):
        how = Circumstances(threads=arguments.threads, channels_last=way.channels_last)
        for name, model in networks.items():
            if backend == "executorch" and name.endswith("planes"):
                continue  # it is compiled, but does not run with an open number of images
            several = [prepare_call(backend, model, images, how, way.exports) for _ in range(copies)]
            with torch.inference_mode():
                expected = model(images)
            for call in several:
                check_answer(call, expected, how)
            calls[f"{name}{way.ending}"] = several
    times = time_in_rounds(calls, rounds=arguments.rounds, stopwatch=stopwatch_for(backend, how))
    reference = next(iter(calls))
    print(f"\n{backend}, batch {batch_size}, {arguments.threads} threads, {times.rounds} rounds, {copies} copies")
    print(f"{'network':45} {'median ms':>10} {'ratio':>7}  95 % interval")
    rows = []
    for timing in summarise(times, batch_size, reference):
        row = {"backend": backend, "batch_size": batch_size, "threads": arguments.threads, "rounds": times.rounds}
        row |= {"copies": copies, "network": timing.network, "stable": timing.stable, "reference": reference}
        row |= {"median_ms": round(timing.median_ms.value, 4)}
        ratio = timing.ratio.interval if timing.ratio else None
        value, low, high = (ratio.value, ratio.low, ratio.high) if ratio else (1.0, 1.0, 1.0)
        rows.append({**row, "ratio": round(value, 4), "ratio_low": round(low, 4), "ratio_high": round(high, 4)})
        print(f"{timing.network:45} {row['median_ms']:10.2f} {value:7.3f}  {low:.3f} - {high:.3f}", flush=True)
    return rows


if __name__ == "__main__":
    main()
