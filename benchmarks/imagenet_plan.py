"""How long ImageNet takes on so many devices, and how much it stores: measured here, and computed from assumptions.

    python benchmarks/imagenet_plan.py [--network mobilenetv2_100] [--epochs 300] [--gpu-rate 2500] [--devices 1,8,32]

    hours = epochs x 1,281,167 / (images/s of a device x devices x efficiency) / 3600

The rate of a CPU is measured by this script, in a few steps of training on images in memory at 224 pixels. The rate of
a GPU and the efficiency of many devices are assumptions: pass what you measured (``results.csv`` of a short run).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import timm
import torch
from timm.optim import create_optimizer_v2
from torch import nn

from leannet.training import environment, load_recipe

IMAGES, CLASSES, SIDE = 1_281_167, 1000, 224  # the training part of ILSVRC 2012
JPEG_BYTES = 150e9  # about what the files of ILSVRC 2012 take as they are published
STORED_SIDE = 256  # leannet stores photographs with a margin of one seventh: 224 x 8 / 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="mobilenetv2_100")
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--batch-size", type=int, default=32, help="of the measurement")
    parser.add_argument("--steps", type=int, default=5, help="of the measurement")
    parser.add_argument("--gpu-rate", type=float, default=2500.0, help="images/s of training of one GPU: an assumption")
    parser.add_argument("--efficiency", type=float, default=0.9, help="of several devices: an assumption")
    parser.add_argument("--devices", default="1,8,32")
    parser.add_argument("--output", type=Path, default=Path("results/imagenet_plan.json"))
    arguments = parser.parse_args()
    measured = images_per_second(arguments.network, arguments.batch_size, arguments.steps)
    rates = {"CPU (measured)": measured, "GPU (assumed)": arguments.gpu_rate}
    here = environment()
    machine = f"{here['machine']['processor']}, {here['machine']['cores']} cores"
    print(f"{arguments.network}, {SIDE} px, {IMAGES:,} images, {arguments.epochs} epochs")
    print(f"CPU: {machine}, seed 0, median of {arguments.steps} steps of {arguments.batch_size} images in memory")
    print(f"assumed: rate of a GPU, and {arguments.efficiency:.0%} of the rate on more than one device\n")
    print(f"{'device':16}{'images/s each':>15}{'devices':>9}{'hours an epoch':>16}{'hours':>12}")
    rows = []
    for device, rate in rates.items():
        for count in map(int, arguments.devices.split(",")):
            epoch = hours(rate, count, 1, arguments.efficiency)
            total = hours(rate, count, arguments.epochs, arguments.efficiency)
            print(f"{device:16}{rate:15,.1f}{count:9}{epoch:16,.3f}{total:12,.1f}")
            rows.append({"device": device, "images_per_second": rate, "devices": count, "hours": total})
    pixels = IMAGES * STORED_SIDE**2 * 3
    print(f"\nstorage: JPEG files about {JPEG_BYTES / 1e9:.0f} GB (as published)")
    print(f"         pixels {IMAGES:,} x {STORED_SIDE} x {STORED_SIDE} x 3 bytes = {pixels / 1e9:.0f} GB", end="")
    print(f" ({pixels / 2**30:.0f} GiB)")
    plan = {"epochs": arguments.epochs, "efficiency_assumed": arguments.efficiency, "rows": rows, "pixel_bytes": pixels}
    record = {"environment": here, "network": arguments.network, "seed": 0, **plan}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(record, indent=1) + "\n")


def hours(rate: float, devices: int, epochs: int, efficiency: float) -> float:
    """Return how many hours of training it takes; a single device loses nothing to others."""
    return epochs * IMAGES / (rate * devices * (efficiency if devices > 1 else 1.0)) / 3600


def images_per_second(network: str, batch_size: int, steps: int) -> float:
    """Measure training on this machine, without the data: the median over the steps, after two that do not count."""
    torch.manual_seed(0)
    model: nn.Module = timm.create_model(network, num_classes=CLASSES)
    model.train().to(memory_format=torch.channels_last)
    recipe = load_recipe("default")
    optimizer = create_optimizer_v2(model, opt=recipe.opt, lr=recipe.lr, weight_decay=recipe.weight_decay)
    loss = nn.CrossEntropyLoss(label_smoothing=recipe.smoothing)
    images = torch.randn(batch_size, 3, SIDE, SIDE).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(CLASSES, (batch_size,))
    rates = []
    for _ in range(steps + 2):
        begin = time.perf_counter()
        loss(model(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        rates.append(batch_size / (time.perf_counter() - begin))
    return statistics.median(rates[2:])


if __name__ == "__main__":
    main()
