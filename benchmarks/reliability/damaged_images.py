"""A thousand damaged files of ten kinds among sound ones: is each named by the scan, and in how much memory?

    python benchmarks/reliability/damaged_images.py [--each 100] [--sound 300] [--seed 0]

The scan runs in a process of its own, of which the peak of the resident memory is read. Where this script runs as
root, that process gives up its rights first: root may read every file, so "no permission" would be no damage.

Some of the sound files have an EXIF block that is rubbish inside: their pixels are whole, so they must not be named.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CLASSES = ("ant", "bee", "cat")
NOBODY = 65534  # the user without rights, on every Linux
MEMORY_LIMIT = 2**30  # bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=100, help="damaged files of each kind")
    parser.add_argument("--sound", type=int, default=300, help="sound files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("results/reliability/damaged_images.json"))
    parser.add_argument("--scan", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.scan:
        print(json.dumps(scan(arguments.scan)))
        return
    with tempfile.TemporaryDirectory() as name:
        kinds = write_folder(Path(name) / "photos", each=arguments.each, sound=arguments.sound, seed=arguments.seed)
        record = judge(kinds, run_scan(Path(name)))
    from leannet.training import environment  # loads torch, whose memory a child process would seem to inherit

    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    record = {"environment": environment(), "seed": arguments.seed, **record}
    arguments.output.write_text(json.dumps(record, indent=1) + "\n")
    print_table(record)
    print(f"written to {arguments.output}")
    passed = record["crashes"] == 0 and record["wrongly_named"] == [] and not record["not_named"]
    sys.exit(0 if passed and record["peak_bytes"] < MEMORY_LIMIT else 3)


def encode(rng: random.Random, kind: str, **options: Any) -> bytes:
    """Encode noise of a random size, which no two files share."""
    pixels = np.random.default_rng(rng.getrandbits(32)).integers(0, 256, (48, rng.randint(40, 90), 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def truncated(path: Path, rng: random.Random) -> None:
    data = encode(rng, path.suffix[1:].replace("jpg", "jpeg"))
    path.write_bytes(data[: int(len(data) * rng.uniform(0.05, 0.95))])


def zero_bytes(path: Path, rng: random.Random) -> None:
    del rng
    path.write_bytes(b"")


def wrong_magic(path: Path, rng: random.Random) -> None:
    path.write_bytes(rng.randbytes(8) + encode(rng, path.suffix[1:].replace("jpg", "jpeg"))[8:])


def html(path: Path, rng: random.Random) -> None:
    text = f"<!DOCTYPE html><html><title>404 Not Found</title><p>{rng.random()}</p></html>"
    path.write_text(text, encoding="utf-8")


def huge_dimensions(path: Path, rng: random.Random) -> None:
    """Claim from 36 million (allowed, but the pixels are not there) to 4,295 million pixels."""
    width, height = rng.randint(6000, 65535), rng.randint(6000, 65535)
    if path.suffix == ".png":
        data = bytearray(encode(rng, "PNG"))
        data[16:24] = struct.pack(">II", width, height)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    else:
        data = bytearray(encode(rng, "JPEG", progressive=rng.random() < 0.5))
        place = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2")) + 5
        data[place : place + 4] = struct.pack(">HH", height, width)
        data = data[: len(data) - rng.randint(50, 500)]  # else a decoder fills the rest with grey, and is content
    path.write_bytes(data)


def wrong_checksum(path: Path, rng: random.Random) -> None:
    """Spoil the checksum of the header or of the pixels, or a byte of the pixels."""
    data = bytearray(encode(rng, "PNG"))
    begin = data.index(b"IDAT") + 4
    end = begin + int.from_bytes(data[begin - 8 : begin - 4], "big")
    data[rng.choice((29, end, rng.randrange(begin, end)))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def broken_exif(path: Path, rng: random.Random) -> None:
    """Let the EXIF block claim more bytes than the file has, so that no pixel can be found behind it."""
    data = bytearray(encode(rng, "JPEG", exif=b"Exif\0\0" + rng.randbytes(60)))
    place = data.index(b"\xff\xe1") + 2
    data[place : place + 2] = b"\xff\xff"
    path.write_bytes(data)


def directory(path: Path, rng: random.Random) -> None:
    path.mkdir()
    if rng.random() < 0.5:
        (path / "inside.jpg").write_bytes(encode(rng, "JPEG"))


def no_permission(path: Path, rng: random.Random) -> None:
    path.write_bytes(encode(rng, path.suffix[1:].replace("jpg", "jpeg")))
    path.chmod(0)


def dangling_link(path: Path, rng: random.Random) -> None:
    path.symlink_to(f"gone/{rng.random()}{path.suffix}")


KINDS: dict[str, Callable[[Path, random.Random], None]] = {
    "truncated": truncated,
    "zero bytes": zero_bytes,
    "wrong magic": wrong_magic,
    "HTML saved as an image": html,
    "huge dimensions in the header": huge_dimensions,
    "wrong checksum": wrong_checksum,
    "broken EXIF block": broken_exif,
    "directory": directory,
    "no permission": no_permission,
    "dangling link": dangling_link,
}


def write_folder(root: Path, *, each: int, sound: int, seed: int) -> dict[str, list[str]]:
    """Write an image folder.

    Args:
        root: The folder, which must not be there.
        each: Damaged files of each kind.
        sound: Sound files, at least one for each class of each part; one in ten has rubbish in its EXIF block.
        seed: Another seed makes other files.

    Returns:
        The paths of the files of each kind, relative to the folder; those of the sound ones under "sound".
    """
    rng = random.Random(seed)
    for part in ("train", "test"):
        for name in CLASSES:
            (root / part / name).mkdir(parents=True)
    paths: dict[str, list[str]] = {}
    number = 0
    for kind in ("sound", *KINDS):
        for _ in range(sound if kind == "sound" else each):
            ending = ".png" if kind == "wrong checksum" or (number % 3 == 0 and kind != "broken EXIF block") else ".jpg"
            path = root / ("test" if number % 2 else "train") / CLASSES[number // 2 % 3] / f"{number:05}{ending}"
            if kind == "sound":
                exif = {"exif": b"Exif\0\0" + rng.randbytes(60)} if ending == ".jpg" and number % 10 == 1 else {}
                path.write_bytes(encode(rng, ending[1:].replace("jpg", "jpeg"), **exif))
            else:
                KINDS[kind](path, rng)
            paths.setdefault(kind, []).append(path.relative_to(root).as_posix())
            number += 1
    return paths


def scan(root: Path) -> dict[str, Any]:
    """Scan a folder in this process, and say what was found and in how much memory."""
    from leannet.data import open_source, scan_source

    before = peak_bytes()
    if os.geteuid() == 0:
        load_all_code()
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    seconds = []
    for _ in range(2):
        begin = time.perf_counter()
        found = scan_source(open_source(root, bad_images="skip"))
        seconds.append(time.perf_counter() - begin)
    kept = {name for names in found.source.split_lists.values() for name in names}
    return {
        "named": {
            error.what.removeprefix("cannot read "): error.why for part in found.damaged.values() for error in part
        },
        "kept": sorted(kept),
        "seconds": seconds,
        "peak_bytes": peak_bytes(),
        "peak_bytes_after_import": before,
        "unreadable_is_unreadable": not any(os.access(root / name, os.R_OK) for name in unreadable(root)),
    }


def load_all_code() -> None:
    """Scan a few files of each kind: code that is loaded late may lie where a process without rights cannot look."""
    from leannet.data import open_source, scan_source

    cache = os.environ["XDG_CACHE_HOME"]
    with tempfile.TemporaryDirectory() as name:
        os.environ["XDG_CACHE_HOME"] = name  # what is written here belongs to root
        write_folder(Path(name) / "photos", each=1, sound=len(CLASSES) * 4, seed=0)
        scan_source(open_source(Path(name) / "photos", bad_images="skip"))
    os.environ["XDG_CACHE_HOME"] = cache


def unreadable(root: Path) -> list[Path]:
    return [path for path in root.glob("*/*/*") if path.is_file() and not path.stat().st_mode & 0o444]


def peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def run_scan(folder: Path) -> dict[str, Any]:
    """Scan ``folder/photos`` in a process of its own; its answer, or how it ended."""
    folder.chmod(0o755)
    cache = folder / "cache"
    cache.mkdir(mode=0o777)
    cache.chmod(0o777)
    command = [sys.executable, str(Path(__file__).resolve()), "--scan", str(folder / "photos")]
    run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "XDG_CACHE_HOME": str(cache)})
    shutil.rmtree(cache, ignore_errors=True)
    if run.returncode or run.stderr:
        return {"crashed": run.stderr or f"ended with {run.returncode}"}
    answer: dict[str, Any] = json.loads(run.stdout)
    return answer


def judge(kinds: dict[str, list[str]], answer: dict[str, Any]) -> dict[str, Any]:
    """Compare what was named with what was written."""
    if "crashed" in answer:
        return {
            "crashes": 1,
            "why": answer["crashed"],
            "rows": [],
            "not_named": [],
            "wrongly_named": [],
            "peak_bytes": 0,
        }
    named = answer["named"]
    expected = dict(kinds)
    if not answer["unreadable_is_unreadable"]:  # the rights could not be given up
        expected["sound"] = expected["sound"] + expected.pop("no permission", [])
    rows = [
        {
            "kind": kind,
            "files": len(paths),
            "named": sum(path in named for path in paths),
            "reasons": sorted({named[path].partition(" (")[0] for path in paths if path in named})[:4],
        }
        for kind, paths in expected.items()
    ]
    damaged = {path for kind, paths in expected.items() if kind != "sound" for path in paths}
    return {
        "rows": rows,
        "crashes": 0,
        "not_named": sorted(damaged - set(named)),
        "wrongly_named": sorted((set(named) - damaged) | (set(expected["sound"]) - set(answer["kept"]))),
        "rights_given_up": answer["unreadable_is_unreadable"],
        **{name: answer[name] for name in ("peak_bytes", "peak_bytes_after_import", "seconds")},
    }


def print_table(record: dict[str, Any]) -> None:
    print(f"{'kind':32}{'files':>6}{'named':>7}  reasons")
    for row in record["rows"]:
        print(f"{row['kind']:32}{row['files']:6}{row['named']:7}  {'; '.join(row['reasons'])[:100]}")
    if record["crashes"]:
        print(f"the scan crashed: {record['why']}")
        return
    peak, before = (record[name] / 2**20 for name in ("peak_bytes", "peak_bytes_after_import"))
    print(f"peak memory {peak:,.0f} MiB, of which {before:,.0f} MiB before the first image")
    print(f"first scan {record['seconds'][0]:.2f} s, second scan {record['seconds'][1]:.2f} s")
    if not record["rights_given_up"]:
        print('"no permission" counts as sound: this process may read every file')


if __name__ == "__main__":
    main()
