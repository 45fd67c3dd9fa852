"""Peak memory of a whole training on CIFAR-10: reading, an epoch, judging, checkpoint and model folders.

    python benchmarks/memory.py CIFAR [--network sm_v2] [--no-small-input] [--seconds 300]

CIFAR is a folder with ``train.parquet`` and ``test.parquet``, or anything else that ``leannet train --data`` takes. The
run has one epoch; where that takes longer than --seconds, it is asked to stop by SIGINT, and the record says so. The
peak is that of the resident memory of the process (``ru_maxrss``), which counts shared libraries and mapped files too.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

LIMIT = 3 * 10**9  # bytes
INTERVAL = 0.5  # seconds between two looks at the memory


def read_arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Read the command line, by default that of this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--network", default="sm_v2")
    parser.add_argument(
        "--small-input",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="the small-input form of the network, which leannet train chooses for images as small as CIFAR-10's",
    )
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--val-fraction", type=float, default=0.1, help="share of the images judged after the epoch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--output", type=Path, default=Path("results/reliability/memory.json"))
    return parser.parse_args(given)


def training(arguments: argparse.Namespace) -> list[str]:
    """Return the arguments of ``leannet`` that do not depend on where the files lie."""
    form = "--small-input" if arguments.small_input else "--no-small-input"
    options = [form, "--epochs", "1", "--batch-size", str(arguments.batch_size)]
    options += ["--val-fraction", str(arguments.val_fraction), "--seed", str(arguments.seed)]
    return ["train", arguments.network, *options]


def main() -> None:
    arguments = read_arguments()
    command = training(arguments)
    with tempfile.TemporaryDirectory() as name:
        run = Path(name) / "run"
        record = watch([*command, "--data", arguments.data, "--output", str(run)], run, arguments.seconds)
        record["data"] = data_of(run)
    from leannet.training import environment  # loads torch, whose memory a child process would seem to inherit

    begin = {"command": " ".join(["leannet", *command]), "small_input": arguments.small_input}
    record = {"environment": environment(), **begin, **record}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(record, indent=1) + "\n")
    for phase, size in record["peak_bytes_until"].items():
        print(f"{phase:40} {size / 1e9:5.2f} GB")
    print(f"{'peak of the whole run':40} {record['peak_bytes'] / 1e9:5.2f} GB, exit code {record['exit_code']}")
    print(f"written to {arguments.output}")
    sys.exit(0 if record["exit_code"] in (0, 130) and record["peak_bytes"] < LIMIT else 3)


def watch(arguments: list[str], run: Path, seconds: float) -> dict[str, Any]:
    """Run ``leannet`` in a process of its own, and look how its memory grows.

    Args:
        arguments: Of ``leannet``.
        run: The run folder, whose files tell how far it is.
        seconds: When it is asked to stop.
    """
    begin = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "leannet_cli", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    reached: dict[str, int] = {}
    asked = False
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        peak = peak_so_far(process.pid)
        for phase, file in (
            ("until the images were read", "environment.json"),
            ("until an epoch was trained and judged", "results.csv"),
            ("until the model folders were written", "last/config.json"),
        ):
            if phase not in reached and peak and has_rows(run / file):
                reached[phase] = peak
        if time.monotonic() - begin > seconds and not asked:
            process.send_signal(signal.SIGINT)
            asked = True
        time.sleep(INTERVAL)
    process.returncode = os.waitstatus_to_exitcode(status)  # else Popen would wait for it once more
    if process.returncode not in (0, 130):
        assert process.stderr is not None
        sys.stderr.write(process.stderr.read().decode())
    return {
        "peak_bytes": usage.ru_maxrss * 1024,  # Linux counts in KiB
        "peak_bytes_until": reached,
        "exit_code": process.returncode,
        "stopped_early": asked,
        "seconds": time.monotonic() - begin,
    }


def peak_so_far(pid: int) -> int:
    """Return the peak of the resident memory of a running process in bytes; 0 if it has just ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def has_rows(file: Path) -> bool:
    """Say whether a file is there, and a table in it has a row below its head."""
    return file.is_file() and (file.suffix != ".csv" or len(file.read_text(encoding="utf-8").splitlines()) > 1)


def data_of(run: Path) -> dict[str, Any] | None:
    """Return what the run says of its images; None if it did not get that far."""
    file = run / "environment.json"
    if not file.is_file():
        return None
    data = json.loads(file.read_text(encoding="utf-8"))["data"]
    return {key: data[key] for key in ("name", "fingerprint", "images", "img_size")}


if __name__ == "__main__":
    main()
