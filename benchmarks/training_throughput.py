"""Images per second of training: leannet's own loop, its parts, and timm's data pipeline, with equal networks.

    python benchmarks/training_throughput.py FOLDER --img-size 32 [--batch-size 128] [--steps 8] [--rounds 4]

FOLDER is an image folder with a part ``train``, of small pictures (see --make-folder, which writes one from CIFAR-10 in
parquet form) or of photographs. All ways run the same network, optimizer and batch size in turns, a few steps each,
for several rounds; medians over the rounds are reported, of rates and of the ratios within a round. What other
processes take of the cores is noted; rounds in which that is more than 5 % are run again, and the quietest are used:

- leannet: `leannet.training.Trainer.run_epoch`, fed by `leannet.data.TrainBatches`: crop (of photographs resized, of
  small pictures shifted), flip, normalise, from pixels that were decoded before;
- leannet, batches in memory: the same loop, but its batches were prepared beforehand: what data could cost at least;
- bare step: forward, loss, backward, AdamW, zero, on one batch in memory, channels last;
- bare step, memory kept: the same after `leannet.training.devices.keep_freed_memory`, which `Trainer` calls on a CPU;
- timm, default flags: ``create_dataset`` and ``create_loader`` with the defaults of its ``train.py``: 4 workers, crops
  of 8 to 100 % of the area, flip, color jitter 0.4, contiguous memory;
- timm, best flags: the flags of ``train.py`` that make it do what leannet does, and are fastest here:
  ``--channels-last --color-jitter 0 --scale 0.35 1 --train-interpolation bilinear -j CORES``.

Both of timm's ways decode each image anew in each epoch, as ``train.py`` does.

Each way has a process of its own, which prepares its images and its network once: `keep_freed_memory` changes a whole
process, and would speed up timm's ways too, which it does not in ``train.py``. One process works at a time. The others
wait in a read, have ended the workers of their loaders and given free memory back to the system; the steps before the
timed ones get both back. ``MALLOC_*``, ``GLIBC_TUNABLES`` and ``LD_PRELOAD`` are unset, so that all processes begin
with the allocator that the system gives; otherwise nothing would be kept. ``OMP_WAIT_POLICY=active`` is refused: the
threads of waiting processes would keep the cores busy. The processor time of the process whose turn it is, with its
loader's workers, is not that of others; whatever a waiting one took would be.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from clocks import OthersTime
from leannet.data import open_source
from leannet.training import environment, load_recipe
from processes import OwnProcess, unset_allocator_settings
from ways_of_training import SEED, WAYS, Setting, make_way

NETWORKS = ("mobilenetv2_100", "sm_v2", "efficientnet_b0", "efficientnet_b0_dmp")
QUIET = 0.05  # share of the cores that other processes may take in a round that counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--make-folder", type=Path, metavar="PARQUET", help="first write FOLDER from this parquet file")
    parser.add_argument("--img-size", type=int, default=32)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--scale", type=float, default=0.35, help="smallest share of a photograph that a crop covers")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="of timm with its best flags")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--most-rounds", type=int, default=12, help="how many are run in search of quiet ones")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--profile", action="store_true", help="say where the time of a step of leannet's loop goes")
    parser.add_argument("--output", type=Path, default=Path("results/training_throughput.json"))
    arguments = parser.parse_args()
    if os.environ.get("OMP_WAIT_POLICY", "").lower() == "active":
        parser.error("with OMP_WAIT_POLICY=active the threads of waiting processes would disturb the one that is timed")
    if unset := unset_allocator_settings():
        print(f"not used, so that all ways begin with the system's allocator: {', '.join(unset)}", file=sys.stderr)
    if arguments.make_folder:
        write_folder(arguments.make_folder, arguments.folder, images=6000)
    recipe = load_recipe("default").override(
        img_size=arguments.img_size, batch_size=arguments.batch_size, scale_min=arguments.scale
    )
    source = open_source(arguments.folder)
    networks = arguments.networks.split(",")
    rows = [measure(Setting(name, arguments.folder, recipe, arguments.workers), arguments) for name in networks]
    settings = ("img_size", "batch_size", "scale", "workers", "steps", "rounds")
    record = {
        "environment": environment(),
        "seed": SEED,
        "settings": {name: getattr(arguments, name) for name in settings},
        "data": {"name": source.name, "images": len(source.splits["train"])},
        "rows": rows,
    }
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


def measure(setting: Setting, arguments: argparse.Namespace) -> dict[str, Any]:
    """Time all ways of training one network."""
    with ExitStack() as stack:
        ways = {name: stack.enter_context(closing(OwnProcess(make_way, name, setting))) for name in WAYS}
        rounds = run_rounds(ways, arguments)
        row = summarise(setting, rounds, arguments.rounds)
        if arguments.profile:
            row["milliseconds_of_a_step"] = {
                name: profile(name, ways[name]) for name in ("leannet", "leannet, batches in memory")
            }
    return row


def run_rounds(ways: dict[str, OwnProcess], arguments: argparse.Namespace) -> list[dict[str, float]]:
    """Let the ways take turns until enough rounds were quiet; return the rates and the share of other processes."""
    rounds: list[dict[str, float]] = []
    for number in range(max(arguments.rounds, arguments.most_rounds)):
        if sum(found["others"] <= QUIET for found in rounds) == arguments.rounds:
            break
        stolen, ours, found = OthersTime(), 0.0, {}
        for name, way in ways.items():
            found[name], seconds = way.ask("images_per_second", arguments.steps)
            ours += seconds
        found["others"] = stolen.share(ours)
        rounds.append(found)
        print(f"round {number + 1}:", {name: round(rate, 3) for name, rate in found.items()}, file=sys.stderr)
    return rounds


def summarise(setting: Setting, rounds: list[dict[str, float]], count: int) -> dict[str, Any]:
    """Print and return the medians over the quietest rounds."""
    rounds.sort(key=lambda found: found["others"])
    used = rounds[:count]
    rates = {name: [found[name] for found in used] for name in WAYS}
    medians = {name: statistics.median(values) for name, values in rates.items()}
    ratios = {
        name: statistics.median(a / b for a, b in zip(rates["leannet"], values, strict=True))
        for name, values in rates.items()
    }
    wait = os.environ.get("OMP_WAIT_POLICY", "unset")
    recipe = setting.recipe
    print(f"\n{setting.network}, {recipe.img_size} px, batch {recipe.batch_size}, OMP_WAIT_POLICY {wait}")
    for name, rate in medians.items():
        print(f"  {name:28} {rate:8.1f} images/s   leannet / this {ratios[name]:5.2f}", flush=True)
    return {
        "network": setting.network,
        "images_per_second": medians,
        "leannet_relative_to": ratios,
        "rounds": used,
    }


def profile(name: str, way: OwnProcess) -> dict[str, float]:
    """Print and return the median of the milliseconds that each part of a step took."""
    medians: dict[str, float] = way.ask("milliseconds_of_a_step")[0]
    total = sum(medians.values())
    shares = ", ".join(f"{part} {value:.1f} ({value / total:.1%})" for part, value in medians.items())
    print(f"  ms of a step, {name}: {shares}")
    return medians


if __name__ == "__main__":
    main()
