"""Run the command line as a user does, but in this process, where torch is imported already."""

import contextlib
import io
import json
import sys
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from leannet_cli.main import main

# One epoch of a small network on tiny images: the shortest comparison that is still a whole one.
QUICK = ("--epochs", "1", "--batch-size", "8", "--img-size", "16")
SMALLEST = "resnet20_cifar"
TREES = ("ash", "birch", "cedar")


class Answer(NamedTuple):
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str


def leannet(*arguments):
    """Run one command; an exception other than SystemExit would be a traceback to the user, and gets through."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", ["leannet", *map(str, arguments)])
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    return Answer(code, out.getvalue(), err.getvalue())


def refusal(*arguments):
    """Run a command that must be refused: exit code 2, one line on the error stream, which is returned."""
    answer = leannet(*arguments)
    assert answer.code == 2, answer
    *progress, said = answer.err.splitlines()
    assert said.startswith("leannet: "), answer.err
    assert said.endswith("."), answer.err
    assert not any(line.startswith("leannet: ") for line in progress)
    return said


def make_images(root, counts, size=16):
    """Make a folder from {"train/ash": 3, ...}: noisy images whose tint depends on the class."""
    random = np.random.default_rng(0)
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        tint = sum(map(ord, folder.rpartition("/")[2])) % 3
        for number in range(count):
            pixels = random.integers(0, 200, (size, size, 3))
            pixels[..., tint] += 55
            Image.fromarray(pixels.astype(np.uint8)).save(root / folder / f"{number}.png")
    return root


def make_trees(root, train=8, test=5):
    """Make three classes of images with a test part."""
    counts = {f"train/{name}": train for name in TREES} | {f"test/{name}": test for name in TREES}
    return make_images(root, counts)


def table_of(answer):
    """Return the cells of the printed comparison, row by row: star, network, top-1, low, high, then the rest."""
    lines = answer.out.splitlines()
    begin = next(number for number, line in enumerate(lines) if "top-1 %" in line) + 1
    rows = []
    for line in lines[begin : lines.index("", begin)]:
        star, cells = line[0] == "*", line[1:].replace(" - ", " ").split()
        rows.append([star, *cells])
    return rows


def record_of(folder, network=SMALLEST, seed=0):
    """Return the record of a finished training."""
    return json.loads((folder / "networks" / network / f"seed-{seed}" / "record.json").read_text())
