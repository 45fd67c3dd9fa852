"""The same weights, heads and thresholds in leannet and in earlyon 0.3 (PyPI): equal exits, and the ratio of times.

    pip install earlyon==0.3.0
    python benchmarks/early_exit/against_earlyon.py MODEL_FOLDER --data DATA [--images 1000] [--batch-sizes 1,8,32]

MODEL_FOLDER holds a network with attached exits and a policy by confidence (``leannet train ... --exits``, ``leannet
calibrate``). earlyon wraps the same modules: hooks that raise an exception at the exit. Of one image both stop at the
same exit; of a batch earlyon leaves only where all images are sure (its conservative batches), so that its answers come
from later exits: the mean exit is shown.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from earlyon.core.types import EarlyExitConfig, ExitPoint  # type: ignore[import-not-found]
from earlyon.core.wrappers import EarlyExitWrapper  # type: ignore[import-not-found]
from torch import Tensor, nn

from leannet.data import EvalBatches, load_pixels
from leannet.early_exit import ExitPolicy, StagedClassifier, read_policy
from leannet.models import AttachedExits
from leannet.training import environment, load_saved_network
from leannet.training.runs import open_run_source


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--batch-sizes", default="1,8,32")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("results/early_exit/against_earlyon.json"))
    arguments = parser.parse_args()
    saved = load_saved_network(arguments.model)
    network = saved.model.eval().requires_grad_(False).to(memory_format=torch.channels_last)
    assert isinstance(network, AttachedExits), "a network with attached exits is needed"
    policy = read_policy(arguments.model, network.num_exits)
    assert policy is not None, f"run leannet calibrate {arguments.model}"
    source = open_run_source(arguments.model, arguments.data)
    pixels = load_pixels(source, "test", saved.preprocessing)
    images = torch.cat([part for part, _ in EvalBatches(pixels, saved.preprocessing, 500)])
    chosen = random.Random(arguments.seed).sample(range(len(images)), min(arguments.images, len(images)))
    images = images[torch.tensor(chosen)].contiguous(memory_format=torch.channels_last)
    ours = StagedClassifier(network, policy)
    theirs = wrap(network, policy, saved.num_classes, tuple(images.shape[1:]))
    record: dict[str, Any] = {
        "environment": environment(),
        "seed": arguments.seed,
        "model": str(arguments.model),
        "equality": compare(ours, theirs, images),
        "rows": [measure(ours, theirs, images, int(size), arguments) for size in arguments.batch_sizes.split(",")],
    }
    print(f"of {len(images)} images: {record['equality']}")
    for row in record["rows"]:
        print(
            f"batch {row['batch_size']}: leannet {row['leannet_ms']:.3f}, earlyon {row['earlyon_ms']:.3f} ms an image "
            f"(ratio {row['ratio']:.3f}); mean exit {row['leannet_mean_exit']:.2f} and {row['earlyon_mean_exit']:.2f}"
        )
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(record, indent=1) + "\n")
    print(f"written to {arguments.output}")


def wrap(network: AttachedExits, policy: ExitPolicy, num_classes: int, shape: tuple[int, ...]) -> EarlyExitWrapper:
    """Let earlyon lead the same modules."""
    points = [ExitPoint(f"e{i}", stage, num_classes) for i, stage in enumerate(network.stages)]
    names = [*(point.name for point in points), "final"]
    config = EarlyExitConfig(
        backbone="custom",
        num_classes=num_classes,
        exit_points=points,
        confidence_thresholds=list(policy.thresholds),
        loss_weights=[1.0] * len(names),
        temperatures=dict(zip(names, policy.temperatures or (1.0,) * len(names), strict=True)),
    )
    heads: dict[str, nn.Module] = {point.name: network.exits[i] for i, point in enumerate(points)}
    return EarlyExitWrapper(network.backbone, heads, lambda logits: logits, config, (1, *shape)).eval()


def their_exit(found: Any, num_exits: int) -> int:
    return num_exits if found.exit_taken < 0 else int(found.exit_taken) + 1


def compare(ours: StagedClassifier, theirs: EarlyExitWrapper, images: Tensor) -> dict[str, int]:
    """Answer image by image with both."""
    counts = {"images": len(images), "equal_exits": 0, "equal_labels": 0}
    for image in images.split(1):
        mine, other = ours(image), theirs(image)
        counts["equal_exits"] += int(mine.exits[0]) == their_exit(other, len(theirs.exit_heads) + 1)
        counts["equal_labels"] += int(mine.labels[0]) == int(other.prediction.argmax())
    return counts


def measure(
    ours: StagedClassifier, theirs: EarlyExitWrapper, images: Tensor, batch_size: int, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Time both in turns, on the same images."""
    rng = random.Random(arguments.seed)
    times: dict[str, list[float]] = {"leannet": [], "earlyon": []}
    exits: dict[str, list[float]] = {"leannet": [], "earlyon": []}
    last = len(theirs.exit_heads) + 1

    def answer(name: str, batch: Tensor) -> float:
        if name == "leannet":
            return float(ours(batch).exits.float().mean())
        found = theirs(batch) if batch_size == 1 else theirs.forward_inference_batched(batch)
        return float(their_exit(found, last))

    per_round = max(32, batch_size)
    for number in range(-2, arguments.rounds):
        batch_of_round = images[torch.tensor(rng.sample(range(len(images)), per_round))]
        names = list(times)
        rng.shuffle(names)
        for name in names:
            begin = time.perf_counter()
            taken = [answer(name, batch) for batch in batch_of_round.split(batch_size)]
            if number >= 0:
                times[name].append(1000 * (time.perf_counter() - begin) / per_round)
                exits[name].append(statistics.fmean(taken))
    ratios = [mine / other for mine, other in zip(times["leannet"], times["earlyon"], strict=True)]
    return {
        "batch_size": batch_size,
        "leannet_ms": statistics.median(times["leannet"]),
        "earlyon_ms": statistics.median(times["earlyon"]),
        "ratio": statistics.median(ratios),
        "leannet_mean_exit": statistics.fmean(exits["leannet"]),
        "earlyon_mean_exit": statistics.fmean(exits["earlyon"]),
        "rounds": times,
    }


if __name__ == "__main__":
    main()
