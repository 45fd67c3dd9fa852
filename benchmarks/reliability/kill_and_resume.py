"""Trainings that are killed at random moments and resumed: does each end with the weights of one that was not?

    nice python benchmarks/reliability/kill_and_resume.py [--kills 50] [--seed 0] [--cifar cifar10/train.parquet]

Each run is killed (SIGKILL) several times, then goes on until it is finished, and is compared byte by byte with an
uninterrupted run of the same command. Every third kill waits until a checkpoint is being written. A kill counts as
lost if the run cannot go on after it, or if its run ends with other bytes.

All processes are forked from one that has imported everything, which saves the seconds of each start.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FORK = multiprocessing.get_context("forkserver")
MODULES = ["leannet.training.runs", "leannet_cli.main", "leannet_cli.train.progress", "sklearn.datasets", "datasets"]
NETWORK, EPOCHS, KILLS_PER_RUN, IMAGES = "resnet20_cifar", 3, 5, 2_000
RANDOM = ("--drop", "0.1", "--mixup", "0.2", "--cutmix", "1", "--reprob", "0.2", "--model-ema")
EXACT = tuple(f"best/{name}" for name in ("config.json", "model.safetensors")) + tuple(
    f"last/{name}" for name in ("config.json", "model.safetensors", "training.safetensors")
)


@dataclass
class Run:
    """A run that is killed again and again, and what became of it."""

    data: str
    number: int
    kills: list[dict[str, Any]] = field(default_factory=list)
    finished: bool = False
    differing: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    error: str = ""

    @property
    def lost(self) -> int:
        """Kills after which something was lost: all of a run, since nobody knows which it was."""
        return 0 if self.finished and not self.differing else max(len(self.kills), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cifar", type=Path, help="parquet file of CIFAR-10's training images, for half of the kills")
    parser.add_argument("--output", type=Path, default=Path("results/reliability/kill_and_resume.json"))
    arguments = parser.parse_args()
    from leannet.training import environment

    described = environment()  # now: the source may have changed when all is done
    FORK.set_forkserver_preload(MODULES)
    draw = random.Random(arguments.seed)
    runs: list[Run] = []
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        data = {"digits": "digits"}
        if arguments.cifar:
            data["cifar10"] = str(subset(arguments.cifar, place / "cifar10.parquet"))
        wholes = {title: whole(place / f"{title}-whole", source) for title, source in data.items()}
        left = {title: arguments.kills // len(data) for title in data}
        left["digits"] += arguments.kills - sum(left.values())
        for title, source in data.items():
            reference, seconds[title] = wholes[title]
            while left[title]:
                kills = min(KILLS_PER_RUN, left[title])
                run = Run(title, len(runs))
                runs.append(run)
                kill_and_resume(run, kills, source, place, reference, seconds[title], draw)
                left[title] -= len(run.kills) or bool(run.error)
                print(f"{title}, run {run.number}: {len(run.kills)} kills, {run.lost} lost {run.error}", flush=True)
    record = {"environment": described, "seed": arguments.seed, **summary(runs, seconds)}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(record, indent=1) + "\n")
    print_table(record)
    print(f"written to {arguments.output}")
    sys.exit(0 if record["lost"] == 0 and record["leftover_files"] == 0 else 3)


def subset(cifar: Path, target: Path) -> Path:
    """Write the first rows of CIFAR-10."""
    from pyarrow import parquet  # type: ignore[import-untyped]

    batch = next(parquet.ParquetFile(cifar).iter_batches(IMAGES))
    with parquet.ParquetWriter(target, batch.schema) as writer:
        writer.write_batch(batch)
    return target


def command(folder: Path, data: str, checkpoint_every: str) -> list[str]:
    size = ["--epochs", str(EPOCHS), "--batch-size", "64", "--checkpoint-every", checkpoint_every]
    return ["train", NETWORK, "--data", data, *size, *RANDOM, "--output", str(folder)]


def whole(folder: Path, data: str) -> tuple[Path, float]:
    """Make the uninterrupted run; return it and the seconds from its first file to its end."""
    process = start(command(folder, data, "1s"), folder.with_suffix(".log"))
    wait((folder / "args.yaml").exists, process)
    begin = time.monotonic()
    process.join()
    if process.exitcode:
        raise SystemExit(folder.with_suffix(".log").read_text())
    return folder, time.monotonic() - begin


def kill_and_resume(
    run: Run, kills: int, data: str, place: Path, reference: Path, seconds: float, draw: random.Random
) -> None:
    """Kill a run some times, let it finish and compare it."""
    folder, log = place / f"{run.data}-{run.number}", place / f"{run.data}-{run.number}.log"
    begin = command(folder, data, draw.choice(["0s", "1s"]))
    for number in range(kills):
        writing = (run.number * KILLS_PER_RUN + number) % 3 == 2
        before = made(folder / ".last.unfinished")
        process = start(["train", "--resume", str(folder)] if (folder / "args.yaml").exists() else begin, log)
        wait((folder / "args.yaml").exists, process)
        if writing:
            wait(lambda before=before: made(folder / ".last.unfinished") not in (None, before), process)  # type: ignore[misc]
            delay = draw.uniform(0, 0.02)
        else:
            delay = draw.uniform(0, 1.5 * seconds / kills)
        process.join(delay)
        if process.exitcode is not None:
            run.error = "" if process.exitcode == 0 else log.read_text().splitlines()[-1]
            break
        process.kill()
        process.join()
        unfinished = made(folder / ".last.unfinished") not in (None, before)
        run.kills.append({"seconds": delay, "waited_for_writing": writing, "while_writing": unfinished})
    if not (folder / "results.json").exists() and not run.error:
        process = start(["train", "--resume", str(folder)], log)
        process.join()
        if process.exitcode:
            run.error = log.read_text().splitlines()[-1]
    run.finished = (folder / "results.json").exists()
    if run.finished:
        run.differing = [name for name in EXACT if (folder / name).read_bytes() != (reference / name).read_bytes()]
        run.differing += ["results.csv"] * (timeless_rows(folder) != timeless_rows(reference))
        run.differing += ["last/training.json"] * (timeless_state(folder) != timeless_state(reference))
        run.leftovers = sorted(str(path.relative_to(folder)) for path in folder.rglob(".*"))


def timeless_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{name: row[name] for name in row if name not in ("images_per_second", "seconds")} for row in rows]


def timeless_state(folder: Path) -> str:
    text = (folder / "last" / "training.json").read_text()
    return re.sub(r'"(seconds|images_per_second)",\s+[-+.\de]+', r'"\1", 0', text)


def made(folder: Path) -> tuple[int, int] | None:
    """Return what tells a folder from an earlier one of the same name; None where there is none."""
    try:
        found = folder.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_ctime_ns


def start(arguments: list[str], log: Path) -> Any:
    process = FORK.Process(target=leannet, args=(arguments, str(log)))
    process.start()
    return process


def leannet(arguments: list[str], log: str) -> None:
    """Run a command in this process, which says everything to a file."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.argv = ["leannet", *arguments]
    from leannet_cli.main import main as command_line

    command_line()


def wait(happened: Callable[[], bool], process: Any) -> None:
    """Wait until something happens, or the process ends."""
    while not happened() and process.is_alive():
        time.sleep(0.001)


def summary(runs: list[Run], seconds: dict[str, float]) -> dict[str, Any]:
    kills = [kill for run in runs for kill in run.kills]
    return {
        "network": NETWORK,
        "epochs": EPOCHS,
        "options": list(RANDOM),
        "compared": [*EXACT, "results.csv (without times)", "last/training.json (without times)"],
        "uninterrupted_seconds": seconds,
        "runs": len(runs),
        "kills": len(kills),
        "kills_while_writing": sum(kill["while_writing"] for kill in kills),
        "lost": sum(run.lost for run in runs),
        "leftover_files": sum(len(run.leftovers) for run in runs),
        "each_run": [
            {"data": run.data, "kills": run.kills, "finished": run.finished, "differing": run.differing}
            | ({"error": run.error} if run.error else {})
            for run in runs
        ],
    }


def print_table(record: dict[str, Any]) -> None:
    print(f"\n{'data':10} {'runs':>5} {'kills':>6} {'while writing':>14} {'not finished':>13} {'other bytes':>12}")
    for title in record["uninterrupted_seconds"]:
        runs = [run for run in record["each_run"] if run["data"] == title]
        kills = [kill for run in runs for kill in run["kills"]]
        unfinished = sum(not run["finished"] for run in runs)
        other = sum(bool(run["differing"]) for run in runs)
        writing = sum(kill["while_writing"] for kill in kills)
        print(f"{title:10} {len(runs):5} {len(kills):6} {writing:14} {unfinished:13} {other:12}")
    print(f"lost after {record['kills']} kills: {record['lost']}; files left over: {record['leftover_files']}")


if __name__ == "__main__":
    main()
