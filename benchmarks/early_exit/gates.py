"""Does it save time to convolve the ring of EMGNet's kernels for open channels only?

    python benchmarks/early_exit/gates.py [--batch-sizes 1,8] [--rounds 200]

For the three layers of emgnet56_cifar, at several shares of open gates (the same channels of all images, which is the
best case for picking), in turns:

- masked: centre and ring for all channels, the ring multiplied with the decisions (what `MultiScaleConv2d` does);
- picked: centre for all channels; the open channels are gathered, their ring convolved, and added (PyTorch only: ONNX
  fixes the number of groups of a convolution in the file);
- open: one 5x5 convolution for all channels, without a decision;
- closed: the centre alone, without a decision: what picking could save at most.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from ways_of_answering import session

from leannet.blocks import MultiScaleConv2d
from leannet.measure import measure_latency
from leannet.training import environment

LAYERS = ((20, 32), (40, 16), (80, 8))  # channels and side of the maps
SHARES = (0.0, 0.25, 0.5, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-sizes", default="1,8")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--output", type=Path, default=Path("results/early_exit/gates.json"))
    arguments = parser.parse_args()
    threads = torch.get_num_threads()
    rows = []
    print(f"{'batch':>5} {'layer':>8} {'open':>5}   microseconds (median); ratio to masked in the same runtime")
    for batch_size in map(int, arguments.batch_sizes.split(",")):
        for channels, side in LAYERS:
            for share in SHARES:
                calls = ways(channels, side, share, batch_size, threads)
                found = measure_latency(calls, rounds=arguments.rounds)
                times = {name: 1000 * latency.median_ms for name, latency in found.items()}
                rows.append({"batch_size": batch_size, "channels": channels, "side": side, "open": share, "us": times})
                text = "  ".join(
                    f"{name} {value:.0f} ({value / times[name.partition(' ')[0] + ' masked']:.2f})"
                    for name, value in times.items()
                )
                print(f"{batch_size:5} {channels:3}x{side:<4} {share:5.2f}   {text}")
    record = {"environment": environment(), "threads": threads, "rounds": arguments.rounds, "rows": rows}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(record, indent=1) + "\n")
    print(f"written to {arguments.output}")


def ways(channels: int, side: int, share: float, batch_size: int, threads: int) -> dict[str, Any]:
    """Return what is timed, by name."""
    torch.manual_seed(0)
    images = torch.randn(batch_size, channels, side, side)
    layer = MultiScaleConv2d(channels).eval().requires_grad_(False)
    opened = torch.arange(channels) < share * channels
    layer.gate.threshold[:] = torch.where(opened, -1.0, 1e9)
    assert torch.equal(picked(layer, images), layer(images)) or torch.allclose(
        picked(layer, images), layer(images), atol=1e-5
    )
    last = images.contiguous(memory_format=torch.channels_last)
    calls: dict[str, Any] = {
        "eager masked": partial(layer, last),
        "eager picked": partial(picked, layer, last),
    }
    arrays = {"x": np.ascontiguousarray(images.numpy())}
    for gates in ("learned", "open", "closed"):
        fixed = MultiScaleConv2d(channels).eval().requires_grad_(False)
        fixed.load_state_dict(layer.state_dict())
        fixed.gates = gates
        run = session(fixed, images if batch_size > 1 else images.repeat(2, 1, 1, 1), threads)
        name = "masked" if gates == "learned" else gates
        if gates != "learned":
            calls[f"eager {name}"] = partial(fixed, last)
        calls[f"onnxruntime {name}"] = partial(run.run, None, {run.get_inputs()[0].name: arrays["x"]})
    return calls


def picked(layer: MultiScaleConv2d, x: Tensor) -> Tensor:
    """Convolve the ring for the channels that are open in any image of the batch."""
    weight = layer.weight
    inner = F.conv2d(x, weight[:, :, 1:4, 1:4], padding=1, groups=layer.groups)
    decisions = layer.gate(inner)
    channels = decisions.flatten(1).any(dim=0).nonzero().flatten()
    if not len(channels):
        return inner
    ring = F.conv2d(x[:, channels], weight[channels] * layer.ring, padding=2, groups=len(channels))
    inner[:, channels] += decisions[:, channels] * ring
    return inner


if __name__ == "__main__":
    main()
