"""Whether the instrument finds a difference where there is none: the same network entered twice, again and again.

    python benchmarks/same_network_twice.py [--network mobilenetv2_100] [--backend eager] [--runs 20] [--rounds 100]
                                            [--copies N]

Each run makes the network anew, twice, and times the two in turns as ``leannet bench`` does. Of 20 intervals of the
ratio at least 19 should hold 1. An interval of exactly 95 % reaches that in three of four tries, so that one failure
says little: --runs 100 says more. The script ends with 3 if fewer than 95 % hold 1. Which of the two is made first
changes from run to run, so that a difference by where they lie in memory is told from one by their turns.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from scipy.stats import t

from leannet.deploy.backend_files import Exports
from leannet.deploy.backends import BACKENDS, Circumstances, prepare_call, stopwatch_for
from leannet.measure.bench import COPIES, LoadMeter, cpu_limits, summarise, time_in_rounds
from leannet.models import create_network
from leannet.training import environment

CLASSES = 10
FIRST, SECOND = "first", "second"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="mobilenetv2_100")
    parser.add_argument("--backend", default="eager", choices=BACKENDS)
    parser.add_argument("--threads", type=int, default=cpu_limits().threads)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--img-size", type=int, default=224)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--copies", type=int, help="of each; by default as many as `leannet bench` takes")
    parser.add_argument("--output", type=Path, default=Path("results/same_network_twice.json"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(cpu_limits().sentence())
    rows = []
    for run in range(arguments.runs):
        rows.append(one_run(arguments, run))
        row = rows[-1]
        print(f"run {run + 1}: {row['ratio']:.4f}  {row['low']:.4f} - {row['high']:.4f}  {row['word']}", flush=True)
    held = sum(row["low"] <= 1 <= row["high"] for row in rows)
    placed = placement(rows)
    settings = {name: value for name, value in vars(arguments).items() if name != "output"}
    record = {"environment": environment(), **settings, "intervals_with_1": held, "made_second": placed, "rows": rows}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"{held} of {len(rows)} intervals hold 1; written to {arguments.output}")
    ends = f"95 % interval {placed['low']:.4f} - {placed['high']:.4f}"
    print(f"the one that was made second takes {placed['ratio']:.4f} times as long as the other ({ends})")
    if held < 0.95 * len(rows):
        sys.exit(3)


def placement(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Compare the one that was made second with the other: memory that was taken later may lie worse."""
    logs = [math.log(row["ratio"]) * (1 if row["made_first"] == FIRST else -1) for row in rows]
    mean, half = statistics.fmean(logs), 0.0
    if len(logs) > 1:
        half = float(t.ppf(0.975, len(logs) - 1)) * statistics.stdev(logs) / math.sqrt(len(logs))
    return {"ratio": math.exp(mean), "low": math.exp(mean - half), "high": math.exp(mean + half)}


def one_run(arguments: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Make the network twice, and time both in turns."""
    how = Circumstances(threads=arguments.threads)
    images = torch.randn(arguments.batch_size, 3, arguments.img_size, arguments.img_size)
    calls = {}
    made = (FIRST, SECOND) if seed % 2 == 0 else (SECOND, FIRST)
    for name in made:
        torch.manual_seed(0)
        model = create_network(arguments.network, num_classes=CLASSES, img_size=arguments.img_size).eval()
        exports = Exports()
        usual = 1 if arguments.backend == "compile" else COPIES
        several = range(arguments.copies or usual)
        calls[name] = [prepare_call(arguments.backend, model, images, how, exports) for _ in several]
    calls = {name: calls[name] for name in (FIRST, SECOND)}  # the order of the turns does not tell who was made first
    load = LoadMeter()
    watch = stopwatch_for(arguments.backend, how)
    times = time_in_rounds(calls, rounds=arguments.rounds, seed=seed, stopwatch=watch)
    first, second = summarise(times, arguments.batch_size, FIRST, seed=seed)
    assert second.ratio is not None
    interval = second.ratio.interval
    return {
        "made_first": made[0],
        "ratio": interval.value,
        "low": interval.low,
        "high": interval.high,
        "word": second.ratio.word,
        "method": interval.method,
        "median_ms": [first.median_ms.value, second.median_ms.value],
        "warm_up_rounds": times.warm_up_rounds,
        "stable": [first.stable, second.stable],
        "load": asdict(load.finish()),
    }


if __name__ == "__main__":
    main()
