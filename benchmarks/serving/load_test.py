"""``leannet serve`` under load, on this machine alone: throughput, waiting times, overload, hostile requests.

    python benchmarks/serving/load_test.py FILE.onnx [--threads 2] [--rounds 5] [--seconds 15] [--overload-seconds 60]

The server is a process of its own on a free port of 127.0.0.1; the clients share the cores with it. In turn: rounds of
onnxruntime in a loop in one process (on prepared pixels, and from the same files) and of a closed loop with
--concurrency clients, compared round by round; an open loop at half the throughput, where waiting counts from the
moment that a request was due; an open loop at twice the throughput; 200 hostile requests (`hostile`). Every answer is
compared with the file's own. The exit code is 3 where something was not answered or refused properly, memory grew, or
the server did not end with 0.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import io
import itertools
import json
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from hostile import PATIENCE, be_hostile
from PIL import Image

from leannet_runtime import decode_image, load

IMAGES = 16
MOST_CONNECTIONS = 300
GROWTH = 1.1  # of the memory from the first to the last part of the overload that still counts as none
REFUSALS = {"503"}
PARTS = ("closed_loop", "half_load", "overload", "hostile")

Loops: TypeAlias = dict[str, Callable[[int], object]]


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each part but the overload")
    parser.add_argument("--overload-seconds", type=float, default=60.0)
    parser.add_argument("--size", type=int, default=256, help="of the square JPEG files that are sent, in pixels")
    parser.add_argument("--queue", type=int, default=64)
    parser.add_argument("--output", type=Path, default=Path("results/serving.json"))
    return parser.parse_args()


def main() -> None:
    arguments = read_arguments()
    files = make_files(arguments.size)
    predictor = load(arguments.file, threads=arguments.threads)
    expected = [prediction.labels[0] for prediction in predictor.predict(files, topk=1)]
    record: dict[str, Any] = {"images": f"{IMAGES} JPEG files of {arguments.size} x {arguments.size} pixels, noise"}
    record |= {name: value for name, value in vars(arguments).items() if name not in ("output", "file")}
    prepared = [predictor.prepare(decode_image(file))[None] for file in files]
    loops: Loops = {
        "onnxruntime": lambda k: predictor.run_pixels(prepared[k]),
        "decode_and_onnxruntime": lambda k: predictor.run([decode_image(files[k])]),
    }
    with tempfile.TemporaryFile("w+") as log:
        options = {"port": 0, "timeout-s": 10, "threads": arguments.threads, "queue": arguments.queue}
        given = [f"--{name}={value}" for name, value in options.items()]
        command = [sys.executable, "-m", "leannet_cli", "serve", str(arguments.file), *given]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert server.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:(\d+)", server.stdout.readline())
            assert found is not None, "the server did not start"
            record |= asyncio.run(measure(Clients(int(found[1]), files, expected), loops, server.pid, arguments))
            server.send_signal(signal.SIGTERM)
            record["exit_code"] = server.wait(PATIENCE)
        finally:
            server.kill()
        log.seek(0)
        record["tracebacks"] = sum('"traceback"' in line for line in log)
    from leannet.training import environment  # loads torch, which must not share the cores before

    record = {"environment": environment(), **record, "passed": passed(record)}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(record, indent=1) + "\n")
    for name in ("images_per_s", "ratio", *PARTS, "exit_code", "tracebacks", "passed"):
        print(f"{name:15} {json.dumps(record[name])}")
    print(f"written to {arguments.output}")
    sys.exit(0 if record["passed"] else 3)


def make_files(size: int) -> list[bytes]:
    """Make JPEG files that compress about as little as photographs."""
    generator = np.random.default_rng(0)
    files = []
    for _ in range(IMAGES):
        coarse = Image.fromarray(generator.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        noise = generator.normal(0, 8, (size, size, 3))
        pixels = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC)) + noise
        stream = io.BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=90)
        files.append(stream.getvalue())
    return files


def loop(call: Callable[[int], object], seconds: float) -> float:
    """Return calls a second; one image each."""
    call(0)
    begin = time.perf_counter()
    for done in itertools.count(1):
        call(done % IMAGES)
        if (now := time.perf_counter()) - begin > seconds:
            return done / (now - begin)
    raise AssertionError


class Clients:
    """Connections that are kept alive, and what became of the requests on them.

    Args:
        port: Of the server, on 127.0.0.1.
        files: Images to send.
        expected: The right label of each.
    """

    def __init__(self, port: int, files: list[bytes], expected: list[str]) -> None:
        self.port = port
        self.files = files
        self.expected = expected
        self.free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.room = asyncio.Semaphore(MOST_CONNECTIONS)

    async def image(self, number: int) -> str:
        """Send an image; return what happened, in a word."""
        index = number % IMAGES
        head = "POST /predict?topk=1 HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
        head += f"Content-Length: {len(self.files[index])}\r\n\r\n"
        try:
            async with self.room:
                status, body = await asyncio.wait_for(self.exchange(head.encode() + self.files[index]), PATIENCE)
        except asyncio.TimeoutError:
            return "not answered"
        except (OSError, EOFError) as error:
            return type(error).__name__
        if status != 200:
            return str(status)
        return "right" if json.loads(body)[0]["labels"] == [self.expected[index]] else "wrong"

    async def exchange(self, request: bytes) -> tuple[int, bytes]:
        """Send a whole request; return status and body of the answer."""
        reader, writer = self.free.pop() if self.free else await asyncio.open_connection("127.0.0.1", self.port)
        whole = False
        try:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = re.search(rb"content-length: (\d+)", head)
            body = await reader.readexactly(int(length[1]) if length else 0)
            whole = b"connection: close" not in head
            return int(head.split()[1]), body
        finally:
            if whole:
                self.free.append((reader, writer))
            else:
                writer.close()

    def close(self) -> None:
        """Close the connections that are kept alive; the server would soon."""
        for _, writer in self.free:
            writer.close()
        self.free.clear()


async def measure(clients: Clients, loops: Loops, pid: int, arguments: argparse.Namespace) -> dict[str, Any]:
    await closed_loop(clients, arguments.concurrency, 1.0)  # warms up
    speeds: dict[str, list[float]] = {name: [] for name in (*loops, "served")}
    for _ in range(arguments.rounds):
        for name, call in loops.items():
            speeds[name].append(loop(call, arguments.seconds))
        closed = await closed_loop(clients, arguments.concurrency, arguments.seconds)
        speeds["served"].append(closed["answers_per_s"])
    ratios = {name: [a / b for a, b in zip(speeds["served"], speeds[name], strict=True)] for name in loops}
    rate = statistics.median(speeds["served"])
    half = await open_loop(clients, rate / 2, arguments.seconds)
    memory: list[int] = []
    sampling = asyncio.create_task(sample_memory(pid, memory))
    over = await open_loop(clients, 2 * rate, arguments.overload_seconds)
    sampling.cancel()
    quarter = max(len(memory) // 4, 1)
    parts = memory[quarter : 2 * quarter] or memory, memory[-quarter:]
    over["resident_bytes_first_and_last_quarter"] = [statistics.median(part) for part in parts]
    clients.close()
    hostile: dict[str, Any] = {"outcomes": await be_hostile(clients.port, clients.files)}
    hostile["right_afterwards"] = await clients.image(0) == "right"
    return {
        "images_per_s": {name: statistics.median(values) for name, values in speeds.items()},
        "ratio": {name: [min(each), statistics.median(each), max(each)] for name, each in ratios.items()},
        **dict(zip(PARTS, (closed, half, over, hostile), strict=True)),
    }


async def closed_loop(clients: Clients, concurrency: int, seconds: float) -> dict[str, Any]:
    """Let so many clients ask as soon as they have their answer."""
    took: list[float] = []
    outcomes: collections.Counter[str] = collections.Counter()
    end = time.perf_counter() + seconds

    async def client(first: int) -> None:
        for number in itertools.count(first):
            if (begin := time.perf_counter()) > end:
                return
            outcomes[await clients.image(number)] += 1
            took.append(time.perf_counter() - begin)

    await asyncio.gather(*(client(first) for first in range(concurrency)))
    return summary(took, outcomes, seconds)


async def open_loop(clients: Clients, rate: float, seconds: float) -> dict[str, Any]:
    """Send requests when they are due, whatever became of those before; at random times, `rate` a second."""
    took: list[float] = []
    outcomes: collections.Counter[str] = collections.Counter()
    generator = random.Random(0)

    async def ask(number: int, due: float) -> None:
        outcome = await clients.image(number)
        outcomes[outcome] += 1
        if outcome == "right":
            took.append(time.perf_counter() - due)

    begin = due = time.perf_counter()
    tasks = []
    for number in itertools.count():
        due += generator.expovariate(rate)
        if due > begin + seconds:
            break
        await asyncio.sleep(max(due - time.perf_counter(), 0))
        tasks.append(asyncio.create_task(ask(number, due)))
    await asyncio.gather(*tasks)
    return {"asked_per_s": rate, **summary(took, outcomes, seconds)}


def summary(took: list[float], outcomes: collections.Counter[str], seconds: float) -> dict[str, Any]:
    ordered = sorted(took)
    at = {share: ordered[min(int(share * len(ordered)), len(ordered) - 1)] for share in (0.5, 0.99)} if took else {}
    times = {f"p{round(100 * share)}_ms": 1000 * value for share, value in at.items()}
    return {"answers_per_s": outcomes["right"] / seconds, **times, "outcomes": dict(outcomes)}


async def sample_memory(pid: int, sizes: list[int]) -> None:
    while True:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
        sizes.append(next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS")))
        await asyncio.sleep(0.5)


def passed(record: dict[str, Any]) -> bool:
    """Say whether everything was answered or refused properly, in memory that did not grow."""
    words = set().union(*(record[part]["outcomes"] for part in ("closed_loop", "half_load")))
    first, last = record["overload"]["resident_bytes_first_and_last_quarter"]
    hostile = set().union(*record["hostile"]["outcomes"].values())
    refused = all(word == "closed" or word.startswith("4") for word in hostile)
    whole = record["exit_code"] == 0 and record["tracebacks"] == 0 and record["hostile"]["right_afterwards"]
    calm = set(record["overload"]["outcomes"]) <= {"right", *REFUSALS} and last < GROWTH * first
    return words == {"right"} and refused and whole and calm


if __name__ == "__main__":
    main()
