"""Milliseconds per image with exits, against the whole network and against single networks, on real test images.

    python benchmarks/early_exit/time_saved.py MODEL_FOLDER --data DATA [--against FOLDER ...] [--batch-sizes 1,8,32]

MODEL_FOLDER has a policy (``leannet calibrate``). Accuracy and exits are those of the whole test part. For the time,
the ways take turns: a round is the same images, answered by every way in a random order, others in each round.
Reported are the mean time of an image, and the median over the rounds of the ratio to the whole network in the same
runtime, with its 95 % interval (bootstrap over rounds). A ratio below 1 is time saved.
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
from torch import Tensor
from ways_of_answering import Answer, eager_full, eager_staged, onnx_full, onnx_staged

from leannet.data import EvalBatches, load_pixels
from leannet.early_exit import check_exits, read_policy
from leannet.measure import wilson_interval
from leannet.training import environment, load_saved_network
from leannet.training.runs import open_run_source

RESAMPLES = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data")
    parser.add_argument("--against", type=Path, nargs="*", default=[])
    parser.add_argument("--batch-sizes", default="1,8,32")
    parser.add_argument("--images", type=int, default=32, help="in a round")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("results/early_exit/time_saved.json"))
    arguments = parser.parse_args()
    threads = torch.get_num_threads()
    images, labels, ways = prepare(arguments, threads)
    answers = {name: answer_all(way, images) for name, way in ways.items()}
    accuracy = {name: judge(*each, labels) for name, each in answers.items()}
    same = {
        what: int((eager == onnx).sum())
        for what, eager, onnx in zip(
            ("labels", "exits"), answers["eager, exits"], answers["onnxruntime, exits"], strict=True
        )
    }
    print(f"of {len(images):,} images both runtimes agree on {same['exits']:,} exits and {same['labels']:,} labels")
    rows = []
    for batch_size in map(int, arguments.batch_sizes.split(",")):
        rows.append(measure(ways, images, batch_size, arguments))
        print_row(rows[-1], accuracy)
    record = {
        "environment": environment(),
        "seed": arguments.seed,
        "threads": threads,
        "model": str(arguments.model),
        "against": [str(folder) for folder in arguments.against],
        "test_images": len(images),
        "accuracy": accuracy,
        "eager_and_onnxruntime_agree": same,
        "rows": rows,
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(record, indent=1) + "\n")
    print(f"written to {arguments.output}")


def prepare(arguments: argparse.Namespace, threads: int) -> tuple[Tensor, Tensor, dict[str, Answer]]:
    """Return the test images, their labels, and the ways to answer them."""
    saved = load_saved_network(arguments.model)
    size, exits = saved.preprocessing.img_size, check_exits(saved.model, str(arguments.model)).num_exits
    policy = read_policy(arguments.model, exits)
    if policy is None:
        raise SystemExit(f"{arguments.model} has no policy: run leannet calibrate {arguments.model}")
    source = open_run_source(arguments.model, arguments.data)
    batches = EvalBatches(load_pixels(source, "test", saved.preprocessing), saved.preprocessing, 500)
    parts = list(batches)
    images = torch.cat([part for part, _ in parts]).contiguous(memory_format=torch.channels_last)
    labels = torch.cat([truth for _, truth in parts])
    ways: dict[str, Answer] = {
        "eager, exits": eager_staged(saved.model, policy),
        "eager, whole": eager_full(saved.model, exits),
        "onnxruntime, exits": onnx_staged(load_saved_network(arguments.model).model, policy, size, threads),
        "onnxruntime, whole": onnx_full(load_saved_network(arguments.model).model, size, threads, exits),
    }
    for folder in arguments.against:
        other = load_saved_network(folder)
        if (other.preprocessing, other.class_names) != (saved.preprocessing, saved.class_names):
            raise SystemExit(f"{folder} sees other images or other classes")
        ways[f"eager, {other.architecture}"] = eager_full(other.model)
        ways[f"onnxruntime, {other.architecture}"] = onnx_full(load_saved_network(folder).model, size, threads)
    return images, labels, ways


def answer_all(way: Answer, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the labels and exits of all test images."""
    answers = [way(images[start : start + 100]) for start in range(0, len(images), 100)]
    found, exits = (torch.cat(parts) for parts in zip(*answers, strict=True))
    return found, exits


def judge(found: Tensor, exits: Tensor, labels: Tensor) -> dict[str, Any]:
    """Return the accuracy on all test images, and how many left at each exit."""
    top1 = wilson_interval(int((found == labels).sum()), len(labels))
    shares = (torch.bincount(exits)[1:] / len(exits)).tolist()
    return {"top1": top1.value, "low": top1.low, "high": top1.high, "shares": shares}


def measure(ways: dict[str, Answer], images: Tensor, batch_size: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Time the ways in turns."""
    rng = random.Random(arguments.seed)
    names = list(ways)
    times: dict[str, list[float]] = {name: [] for name in names}
    per_round = -(-max(arguments.images, batch_size) // batch_size) * batch_size
    for number in range(-2, arguments.rounds):  # two rounds of warm-up
        chosen = torch.tensor(rng.sample(range(len(images)), per_round))
        batches = [images[part] for part in chosen.split(batch_size)]
        rng.shuffle(names)
        for name in names:
            begin = time.perf_counter()
            for batch in batches:
                ways[name](batch)
            if number >= 0:
                times[name].append(1000 * (time.perf_counter() - begin) / per_round)
    ratios = {}
    for name in ways:
        whole = times[f"{name.partition(',')[0]}, whole"]
        each = [own / other for own, other in zip(times[name], whole, strict=True)]
        ratios[name] = {"median": statistics.median(each), **interval(each, rng)}
    means = {name: statistics.fmean(values) for name, values in times.items()}
    return {"batch_size": batch_size, "mean_ms": means, "ratio_to_whole": ratios, "rounds": times}


def interval(values: list[float], rng: random.Random) -> dict[str, float]:
    medians = sorted(statistics.median(rng.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return {"low": medians[int(0.025 * RESAMPLES)], "high": medians[int(0.975 * RESAMPLES)]}


def print_row(row: dict[str, Any], accuracy: dict[str, Any]) -> None:
    print(f"\nbatch {row['batch_size']:<28}{'ms/image':>9}{'ratio':>8}{'95 %':>16}{'top-1 %':>9}  leave at")
    for name, mean in sorted(row["mean_ms"].items()):
        ratio = row["ratio_to_whole"][name]
        shares = " ".join(f"{100 * share:.0f}%" for share in accuracy[name]["shares"])
        print(
            f"{name:34}{mean:9.3f}{ratio['median']:8.3f}{ratio['low']:8.3f}-{ratio['high']:.3f}"
            f"{accuracy[name]['top1']:11.2f}  {shares}"
        )


if __name__ == "__main__":
    main()
