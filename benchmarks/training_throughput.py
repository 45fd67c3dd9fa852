"""Images per second of training: leannet, the bare step on data in memory, and timm's own data pipeline.

    python benchmarks/training_throughput.py FOLDER [--img-sizes 32,64] [--steps 12] [--rounds 4] [--batch-size 128]

FOLDER is an image folder whose images have about the right size, with a part ``train`` (see --make-folder, which writes
one from CIFAR-10 in parquet form). All five ways run the same network, optimizer and batch size in turns, a few steps
each, for several rounds; the median over the rounds is reported:

- bare step: forward, loss, backward, AdamW, zero, on one batch that lies in memory, channels last;
- leannet: `leannet.data.TrainBatches` and the same step as in `leannet.training`;
- timm: ``create_dataset`` and ``create_loader`` with the flags of its ``train.py``: by default 4 workers, RandAugment
  off, color jitter 0.4, contiguous memory; and its best flags here, ``--channels-last`` with as many workers as cores.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data import create_dataset, create_loader
from timm.optim import create_optimizer_v2
from torch import Tensor, nn

from leannet.data import open_source  # importing leannet registers its networks in timm
from leannet.training import environment, load_recipe, prepare_data

NETWORKS = ("mobilenetv2_100", "sm_v2", "efficientnet_b0", "efficientnet_b0_dmp")
Batch = tuple[Tensor, Tensor]
WARM_UP_STEPS = 5  # enough for timm's workers to be where they stay


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--make-folder", type=Path, metavar="PARQUET", help="first write FOLDER from this parquet file")
    parser.add_argument("--img-sizes", default="32,64")
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--output", type=Path, default=Path("results/training_throughput.json"))
    arguments = parser.parse_args()
    if arguments.make_folder:
        write_folder(arguments.make_folder, arguments.folder, images=6000)
    rows = []
    for img_size in map(int, arguments.img_sizes.split(",")):
        for network in arguments.networks.split(","):
            rows.append(measure(network, img_size, arguments))
    record = {"environment": environment(), "seed": 0, "batch_size": arguments.batch_size, "rows": rows}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(record, indent=1) + "\n")
    print(f"written to {arguments.output}")


def write_folder(parquet: Path, folder: Path, images: int) -> None:
    """Write the first images of a parquet file as a folder of class folders, as timm's loader wants them."""
    split = open_source(str(parquet.parent)).splits["train"]
    for index in range(images):
        path = folder / "train" / str(split.labels[index]) / f"{index:06}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            content = io.BytesIO()
            split.read(index).save(content, "PNG")
            path.write_bytes(content.getvalue())


def measure(network: str, img_size: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Time all ways of feeding one network."""
    batch_size = arguments.batch_size
    images = torch.randn(batch_size, 3, img_size, img_size).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (batch_size,))
    cores = len(os.sched_getaffinity(0))
    ours, folder = leannet_batches(arguments.folder, img_size, batch_size), arguments.folder
    ways = {
        "bare step, channels_last": Way(network, lambda: itertools.repeat((images, labels)), channels_last=True),
        "leannet": Way(network, ours, channels_last=True),
        "timm, default flags": Way(network, timm_batches(folder, img_size, batch_size, 4), channels_last=False),
        "timm, --channels-last": Way(network, timm_batches(folder, img_size, batch_size, cores), channels_last=True),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(arguments.rounds):
        for name, way in ways.items():
            rates[name].append(way.images_per_second(arguments.steps))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    print(f"\n{network}, {img_size} px, batch {batch_size}, {torch.get_num_threads()} threads")
    for name, rate in medians.items():
        print(f"  {name:28} {rate:8.1f} images/s   leannet / this {medians['leannet'] / rate:5.2f}", flush=True)
    return {"network": network, "img_size": img_size, "images_per_second": medians, "rounds": rates}


class Way:
    """A network, its optimizer and how a stream of batches is opened."""

    def __init__(self, network: str, open_batches: Callable[[], Iterator[Batch]], channels_last: bool) -> None:
        torch.manual_seed(0)
        self.model: nn.Module = timm.create_model(network, num_classes=10).train()
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.model.to(memory_format=self.memory_format)
        recipe = load_recipe("default")
        self.optimizer = create_optimizer_v2(
            self.model, opt=recipe.opt, lr=recipe.lr, weight_decay=recipe.weight_decay, momentum=recipe.momentum
        )
        self.loss = nn.CrossEntropyLoss(label_smoothing=0.1)
        self.open_batches = open_batches

    def images_per_second(self, steps: int) -> float:
        """Run some steps; the wait for batches counts.

        The stream is opened anew and closed behind: workers that go on loading while another way is timed would slow
        that one down, and find their own batches ready for nothing. The first steps are not counted.
        """
        count, start = 0, 0.0
        for number, (images, labels) in enumerate(itertools.islice(self.open_batches(), WARM_UP_STEPS + steps)):
            if number == WARM_UP_STEPS:
                start = time.perf_counter()
            self.loss(self.model(images.contiguous(memory_format=self.memory_format)), labels).backward()
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            count += len(images) if number >= WARM_UP_STEPS else 0
        return count / (time.perf_counter() - start)


def endless(epoch: Callable[[int], Iterator[Batch]], batch_size: int) -> Iterator[Batch]:
    """Go through the epochs one after the other, full batches only."""
    for number in itertools.count():
        yield from (batch for batch in epoch(number) if len(batch[1]) == batch_size)


def leannet_batches(folder: Path, img_size: int, batch_size: int) -> Callable[[], Iterator[Batch]]:
    recipe = load_recipe("default").override(img_size=img_size, batch_size=batch_size)
    data = prepare_data(open_source(folder), recipe)
    return lambda: endless(data.train_batches(seed=0).epoch, batch_size)


def timm_batches(folder: Path, img_size: int, batch_size: int, workers: int) -> Callable[[], Iterator[Batch]]:
    dataset = create_dataset("", root=str(folder), split="train", is_training=True)
    loader = create_loader(
        dataset,
        input_size=(3, img_size, img_size),
        batch_size=batch_size,
        is_training=True,
        no_aug=False,
        scale=(0.08, 1.0),
        ratio=(3 / 4, 4 / 3),
        hflip=0.5,
        color_jitter=0.4,
        interpolation="random",
        num_workers=workers,
        use_prefetcher=False,
        persistent_workers=False,
        device=torch.device("cpu"),
    )
    return lambda: endless(lambda _: iter(loader), batch_size)


if __name__ == "__main__":
    main()
