"""Runs that are stopped at any moment go on as if nothing had happened: the same weights, bit by bit."""

import os
import random
import shutil
import signal
import sys
import time

import pytest
from command_line import QUICK, SMALLEST, leannet, make_trees, refusal
from model_folders import rows_of
from other_process import start, wait_until
from safetensors import safe_open

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

KILLS = 5
# Everything that draws random numbers, and a checkpoint after each update.
RANDOM = ("--drop", 0.1, "--mixup", 0.2, "--cutmix", 1, "--reprob", 0.2, "--aa", "rand-m9-n2", "--model-ema")
LONG = (*QUICK, "--epochs", 6, "--val-fraction", 0.25, "--checkpoint-every", "0s", *RANDOM)
EXACT = (
    "best/config.json",
    "best/model.safetensors",
    "last/config.json",
    "last/model.safetensors",
    "last/training.safetensors",
    "args.yaml",
    "splits.json",
)


def timeless(folder):
    return [
        {name: value for name, value in row.items() if name not in ("images_per_second", "seconds")}
        for row in rows_of(folder / "results.csv")
    ]


def same(one, two):
    """Return which files differ that must not."""
    differ = [name for name in EXACT if (one / name).read_bytes() != (two / name).read_bytes()]
    return differ + ["results.csv"] * (timeless(one) != timeless(two))


def made(folder):
    """Return what tells a folder from an earlier one of the same name; None where there is none."""
    try:
        found = folder.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_ctime_ns


def finish(process, seconds=120):
    process.join(seconds)
    return process.exitcode


@pytest.fixture(scope="module")
def whole(trees, tmp_path_factory):
    """An uninterrupted run, and how long it took from its first file to its last."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    process = start(("train", SMALLEST, "--data", trees, *LONG, "-o", folder), folder.parent / "log", folder.parent)
    wait_until((folder / "args.yaml").exists, process)
    begin = time.monotonic()
    assert finish(process) == 0, (folder.parent / "log").read_text()
    return folder, time.monotonic() - begin


def test_nothing_is_lost_when_it_is_killed(whole, trees, tmp_path):
    folder, seconds = tmp_path / "run", whole[1]
    draw = random.Random(0)
    command = ("train", SMALLEST, "--data", trees, *LONG, "-o", folder)
    states = []
    for number in range(KILLS):
        before = made(folder / ".last.unfinished")  # what the last kill left is there until the next writing
        process = start(command, tmp_path / f"log{number}", tmp_path)
        wait_until((folder / "args.yaml").exists, process)
        if number % 2:  # in the middle of writing
            wait_until(lambda: made(folder / ".last.unfinished") not in (None, before), process)  # noqa: B023
            time.sleep(draw.uniform(0, 0.01))
        else:
            time.sleep(draw.uniform(0, seconds / KILLS))
        process.kill()
        assert finish(process) == -signal.SIGKILL, "it was done before: make the run longer"
        states.append(sorted(path.name for path in folder.iterdir()))
        command = ("train", "--resume", folder)
    process = start(command, tmp_path / "log", tmp_path)
    assert finish(process) == 0, (tmp_path / "log").read_text()
    assert any(".last.unfinished" in names for names in states), "none of them hit the writing"
    assert "going on in epoch" in (tmp_path / "log").read_text()
    assert same(folder, whole[0]) == []
    assert {path.name for path in folder.iterdir()} == {path.name for path in whole[0].iterdir()}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_it_and_resume_alone_goes_on(whole, trees, tmp_path, monkeypatch, number, code):
    arguments = [argument if argument != "0s" else "1h" for argument in LONG]
    process = start(("train", SMALLEST, "--data", trees, *arguments), tmp_path / "log", tmp_path)
    wait_until(lambda: "epoch 2/6" in ((tmp_path / "log").read_text() if (tmp_path / "log").exists() else ""), process)
    os.kill(process.pid, number)
    assert finish(process) == code
    folder = f"runs/train/{SMALLEST}-trees"
    *_, said = (tmp_path / "log").read_text().splitlines()
    assert said == (f"leannet: stopped; a checkpoint is in {folder}/last. Go on with: leannet train --resume {folder}")
    assert not (tmp_path / folder / "results.json").exists()
    # The newest unfinished run is taken, not another one that is finished.
    shutil.copytree(whole[0], tmp_path / "runs" / "train" / "finished")
    process = start(("train", "--resume"), tmp_path / "second", tmp_path)
    assert finish(process) == 0, (tmp_path / "second").read_text()
    differ = [name for name in same(tmp_path / folder, whole[0]) if name != "args.yaml"]
    assert differ == []
    assert refusal("train", "--resume") == (
        "leannet: nothing to resume: runs/train holds no unfinished run. Name the folder: --resume RUN."
    )


def test_no_run_to_resume():
    assert refusal("train", "--resume") == (
        "leannet: nothing to resume: runs/train holds no run. Name the folder: --resume RUN."
    )


@pytest.fixture(scope="module")
def stopped(trees, tmp_path_factory):
    """A run that was stopped after its second epoch; not to be changed."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    log = folder.parent / "log"
    process = start(("train", SMALLEST, "--data", trees, *LONG, "-o", folder), log, folder.parent)
    wait_until(lambda: log.exists() and "epoch 2/6" in log.read_text(), process)
    os.kill(process.pid, signal.SIGINT)
    assert finish(process) == 130
    return folder


@pytest.fixture
def run(stopped, tmp_path):
    return shutil.copytree(stopped, tmp_path / "run")


def test_full_disk(run, whole, tmp_path):
    """Weights do not fit any more: one line, and what was there is whole."""
    before = {path.name: path.read_bytes() for path in (run / "last").iterdir()}
    process = start(("train", "--resume", run), tmp_path / "log", tmp_path, file_limit=700_000)
    assert finish(process) == 2
    said = (tmp_path / "log").read_text()
    assert "Traceback" not in said
    *_, line = said.splitlines()
    assert line.startswith(f"leannet: cannot write the checkpoint {run / 'last'}: ")
    assert line.endswith(
        f"(the checkpoint before it is whole). Make room, then go on with: leannet train --resume {run}."
    )
    assert {path.name: path.read_bytes() for path in (run / "last").iterdir()} == before
    assert not (run / ".last.unfinished").exists()
    assert leannet("train", "--resume", run).code == 0
    assert same(run, whole[0]) == []


def test_from_the_other_checkpoint(run, whole):
    file = run / "last" / "training.safetensors"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert refusal("train", "--resume", run) == (
        f"leannet: cannot use the checkpoint {run / 'last'}: {file} is not what was written (its SHA-256 differs). "
        f"Go on from the other checkpoint of this run: leannet train --resume {run / 'previous'}."
    )
    assert leannet("train", "--resume", run / "previous").code == 0
    assert same(run, whole[0]) == []


def test_leftovers_are_removed_but_no_files_of_the_user(run):
    left = [run / ".results.csv.ab12_xyz", run / "best" / ".model.safetensors.ab12_xyz", run / ".last.unfinished" / "x"]
    kept = [run / ".gitignore", run / "notes.txt", run / "best" / ".notes.of.somebody"]
    (run / ".last.unfinished").mkdir()
    for path in left + kept:
        path.write_text("text")
    assert leannet("train", "--resume", run).code == 0
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in kept)


def test_another_number_of_threads_may_be_chosen(run):
    answer = leannet("train", "--resume", run, "--workers", 1, "--checkpoint-every", "1h")
    assert answer.code == 0
    assert "going on in epoch " in answer.err


def test_a_finished_run_is_not_resumed(whole):
    folder = whole[0]
    assert refusal("train", "--resume", folder) == (
        f"leannet: cannot resume {folder}: it is finished. See {folder}/results.json, or train anew."
    )


def test_what_is_no_run_is_not_resumed(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert refusal("train", "--resume", folder) == (
            f"leannet: cannot resume {folder}: it is no run folder (no args.yaml). Name a folder in runs/train."
        )
    (tmp_path / "args.yaml").write_text("networks: [a]\n")
    said = refusal("train", "--resume", tmp_path)
    assert said.startswith(f"leannet: cannot read {tmp_path / 'args.yaml'}: not the settings of a training")


@pytest.mark.parametrize(
    ("option", "more"),
    [
        ("--lr", ("--lr", 0.1)),
        ("--epochs", ("--epochs", 9)),
        ("--seed", ("--seed", 0)),
        ("--data", ("--data", "digits")),
        ("--output", ("--output", "elsewhere")),
        ("--sync-bn", ("--no-sync-bn",)),
        ("--compile", ("--compile",)),
        ("MODEL", (SMALLEST,)),
    ],
)
def test_other_options_are_refused(run, option, more):
    said = refusal("train", *more, "--resume", run)
    assert said == (
        f"leannet: {option} with --resume: a run goes on with the settings it was begun with. Leave it away."
    )


def test_other_images_are_refused(trees, tmp_path):
    data = make_trees(tmp_path / "trees")
    process = start(("train", SMALLEST, "--data", data, *LONG, "-o", tmp_path / "run"), tmp_path / "log", tmp_path)
    wait_until((tmp_path / "run" / "last").exists, process)
    process.kill()
    assert finish(process) == -signal.SIGKILL
    shutil.copy(trees / "train" / "ash" / "0.png", data / "train" / "birch" / "new.png")
    assert refusal("train", "--resume", tmp_path / "run") == (
        f"leannet: cannot resume {tmp_path / 'run'}: the images of {data} are not those it was begun with. "
        "Put them back, or train anew."
    )
    (data / "train" / "birch" / "new.png").unlink()
    assert leannet("train", "--resume", tmp_path / "run").code == 0


def test_checkpoint_holds_no_random_state(stopped):
    """What is drawn is a function of seed, epoch and step, so nothing about it needs to be kept."""
    with safe_open(stopped / "last" / "training.safetensors", "pt") as file:
        assert not [name for name in file.keys() if "rng" in name or "random" in name]  # noqa: SIM118
