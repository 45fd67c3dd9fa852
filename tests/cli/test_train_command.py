"""A whole run of `leannet train`: its files, the epoch that is kept, and how that is judged by others."""

import json
import os
import resource
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from command_line import QUICK, SMALLEST, TREES, leannet, make_images, make_trees, refusal
from model_folders import rows_of, truth_of
from PIL import Image
from safetensors.torch import load_file
from scipy.stats import binomtest
from torchvision.transforms import v2
from train_runs import arguments, results, train

from leannet.training.devices import USUAL_LAYOUT

EPOCHS = 5


@pytest.fixture(scope="module")
def run(trees, tmp_path_factory):
    """A run of several epochs, of which an earlier one was the best; not to be changed."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    answer = train(trees, folder, "--epochs", EPOCHS, "--seed", 1)
    return folder, answer


def test_files(run):
    folder, _ = run
    records = ["results.csv", "results.json", "predictions.csv", "splits.json"]
    names = sorted([*records, "args.yaml", "best", "environment.json", "last", "previous"])
    assert sorted(path.name for path in folder.iterdir()) == names
    assert sorted(path.name for path in (folder / "best").iterdir()) == ["config.json", "model.safetensors"]
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["packages"]["torch"] == torch.__version__.partition("+")[0]
    assert (environment["seed"], environment["data"]["classes"]) == (1, list(TREES))
    assert environment["data"]["images"] == {"train": 18, "validation": 6, "test": 15}


def test_rows_of_the_epochs(run):
    folder, answer = run
    rows = rows_of(folder / "results.csv")
    assert list(rows[0]) == ["epoch", "train_loss", "val_loss", "val_top1", "lr", "images_per_second", "seconds"]
    assert [row["epoch"] for row in rows] == [str(number + 1) for number in range(EPOCHS)]
    printed = [line for line in answer.err.splitlines() if line.startswith("  epoch ")]
    assert len(printed) == EPOCHS
    for row, line in zip(rows, printed, strict=True):
        assert f"loss {float(row['train_loss']):.3f}, validation top-1 {float(row['val_top1']):.2f} %" in line


def judged_by_others(folder, files):
    """Return how many files a model folder gets right, and its mean loss, by timm and torchvision alone."""
    described = json.loads((folder / "config.json").read_text())["pretrained_cfg"]
    prepare = v2.Compose(
        [
            v2.Resize(described["input_size"][1:], v2.InterpolationMode.BICUBIC),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(described["mean"], described["std"]),
        ]
    )
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    labels = torch.tensor([TREES.index(path.parent.name) for path in files])
    with torch.inference_mode():
        logits = model(torch.stack([prepare(Image.open(path)) for path in files]))
    return int((logits.argmax(1) == labels).sum()), float(torch.nn.functional.cross_entropy(logits, labels))


def validation_files(folder, trees):
    with (folder / "splits.json").open() as file:
        return [trees / name for name in json.load(file)["validation"]]


def test_best_is_the_first_epoch_of_the_highest_validation_accuracy(run, trees):
    folder, _ = run
    accuracies = [float(row["val_top1"]) for row in rows_of(folder / "results.csv")]
    best = int(np.argmax(accuracies))
    assert best + 1 < EPOCHS, "choose a seed with which an earlier epoch is the best, or this shows nothing"
    assert results(folder)["best_epoch"] == best + 1
    files = validation_files(folder, trees)
    for kept, epoch in (("best", best), ("last", EPOCHS - 1)):
        correct, loss = judged_by_others(folder / kept, files)
        assert 100 * correct / len(files) == pytest.approx(accuracies[epoch])
        assert loss == pytest.approx(float(rows_of(folder / "results.csv")[epoch]["val_loss"]), abs=1e-4)
    best_weights, last_weights = (load_file(folder / name / "model.safetensors") for name in ("best", "last"))
    assert any(not best_weights[name].equal(last_weights[name]) for name in best_weights)


def test_test_accuracy_is_that_of_the_best_by_others(run, trees):
    folder, answer = run
    found = results(folder)["test"]
    _, labels, probabilities = truth_of(folder / "best", trees)
    correct = int((probabilities.argmax(1) == labels).sum())
    assert (found["correct"], found["total"]) == (correct, 15)
    low, high = binomtest(correct, 15).proportion_ci(method="wilson")
    assert (found["top1"]["low"], found["top1"]["high"]) == pytest.approx((100 * low, 100 * high))
    printed = next(line.split() for line in answer.out.splitlines() if line.startswith("test "))
    assert printed[1:] == [
        f"{100 * correct / 15:.2f}",
        f"{100 * low:.2f}",
        "-",
        f"{100 * high:.2f}",
        str(correct),
        "15",
        f"{found['loss']:.4f}",
    ]
    assert found["loss"] == pytest.approx(-np.log(probabilities[np.arange(15), labels]).mean(), abs=1e-4)


def test_parts_do_not_overlap(run, trees):
    folder, _ = run
    parts = json.loads((folder / "splits.json").read_text())
    assert not set(parts["train"]) & set(parts["validation"])
    together = {trees / name for name in parts["train"] + parts["validation"]}
    assert together == set((trees / "train").rglob("*.png"))
    assert [sum(f"train/{name}/" in file for file in parts["validation"]) for name in TREES] == [2, 2, 2]


def test_the_test_part_chooses_nothing(run, tmp_path):
    """With other images to be tested on, everything else is the same."""
    folder, _ = run
    other = make_trees(tmp_path / "trees")
    for number, path in enumerate(sorted((other / "test").rglob("*.png"))):
        Image.new("RGB", (16, 16), (10 * number, 0, 0)).save(path)
    train(other, tmp_path / "out", "--epochs", EPOCHS, "--seed", 1)
    for name in ("best", "last"):
        file = f"{name}/model.safetensors"
        assert (tmp_path / "out" / file).read_bytes() == (folder / file).read_bytes()
    assert results(tmp_path / "out")["best_epoch"] == results(folder)["best_epoch"]
    assert results(tmp_path / "out")["validation"] == results(folder)["validation"]
    assert results(tmp_path / "out")["test"] != results(folder)["test"]


def test_the_same_command_gives_the_same_weights_and_its_yaml_does_too(run, trees, tmp_path):
    folder, _ = run
    answer = leannet("train", "--config", folder / "args.yaml", "--output", tmp_path / "again")
    assert answer.code == 0, answer.err
    assert (tmp_path / "again" / "args.yaml").read_bytes() == (folder / "args.yaml").read_bytes()
    for name in ("best", "last"):
        file = f"{name}/model.safetensors"
        assert (tmp_path / "again" / file).read_bytes() == (folder / file).read_bytes()


def test_yaml_of_a_run_keeps_what_is_not_default(trees, tmp_path):
    changed = ("--no-channels-last", "--no-sync-bn", "--bad-images", "error", "--seed", 7, "--drop", 0.2)
    train(trees, tmp_path / "one", *changed, "--ignore-unknown-classes")
    leannet("train", "--config", tmp_path / "one" / "args.yaml", "--lr", 0.001, "--output", tmp_path / "two")
    one, two = arguments(tmp_path / "one"), arguments(tmp_path / "two")
    assert (one["channels_last"], one["sync_bn"], one["bad_images"], one["seed"]) == (False, False, "error", 7)
    assert two["recipe"].pop("lr") == 0.001
    del one["recipe"]["lr"]
    assert two == one


def test_another_layout_than_the_one_asked_for_is_told(trees, tmp_path, monkeypatch):
    monkeypatch.setattr("leannet.training.loop.bears_channels_last", lambda _: False)
    told = {}
    for option in ("--channels-last", "--no-channels-last"):
        answer = train(trees, tmp_path / option, option)
        told[option] = (
            "note: not trained channels last" in answer.out + answer.err,
            USUAL_LAYOUT in results(tmp_path / option)["notes"],
        )
    assert told == {"--channels-last": (True, True), "--no-channels-last": (False, False)}


def test_next_command_works(run):
    folder, answer = run
    following = answer.out.splitlines()[-1]
    assert following.startswith(f"Next: leannet evaluate {folder}/best --data ")
    done = leannet(*following.removeprefix("Next: leannet ").split())
    assert done.code == 0, done.err
    assert f"{results(folder)['test']['top1']['value']:.2f}" in done.out


def test_second_run_has_a_folder_of_its_own(trees, tmp_path):
    quick = ("train", SMALLEST, "--data", trees, *QUICK)
    for _ in range(2):
        assert leannet(*quick).code == 0
    assert leannet(*quick, "--name", "mine").code == 0
    found = sorted(path.name for path in (tmp_path / "runs" / "train").iterdir())
    assert found == ["mine", f"{SMALLEST}-trees", f"{SMALLEST}-trees-2"]


def test_a_run_is_not_overwritten(run, trees):
    folder, _ = run
    before = (folder / "args.yaml").read_bytes()
    assert refusal("train", SMALLEST, "--data", trees, *QUICK, "--output", folder) == (
        f"leannet: cannot train into {folder}: it holds a run. "
        f"Go on with it by --resume {folder}, or choose another --output."
    )
    assert (folder / "args.yaml").read_bytes() == before


def test_without_a_validation_part_the_last_epoch_is_kept(trees, tmp_path):
    answer = train(trees, tmp_path / "out", "--val-fraction", 0, "--epochs", 2)
    found = results(tmp_path / "out")
    assert (found["best_epoch"], found["chosen_by"]) == (2, "nothing: the last epoch")
    assert "validation" not in found
    assert {row["val_top1"] for row in rows_of(tmp_path / "out" / "results.csv")} == {""}
    assert "validation" not in answer.err
    best, last = (load_file(tmp_path / "out" / name / "model.safetensors") for name in ("best", "last"))
    assert all(best[name].equal(last[name]) for name in last)


def test_damaged_images_are_counted_or_refused(tmp_path):
    data = make_trees(tmp_path / "trees")
    bad = data / "train" / "ash" / "3.png"
    bad.write_bytes(bad.read_bytes()[:200])
    (data / "test" / "cedar" / "0.png").write_bytes(b"no image")
    answer = train(data, tmp_path / "skip", "--bad-images", "skip")
    assert results(tmp_path / "skip")["skipped_images"] == {"train": 1, "validation": 0, "test": 1}
    assert results(tmp_path / "skip")["test"]["total"] == 14
    assert "2 damaged images left out" in answer.out
    said = refusal("train", SMALLEST, "--data", data, *QUICK, "--bad-images", "error", "--output", tmp_path / "error")
    assert "cannot read train/ash/3.png: " in said
    assert said.endswith("Remove it, or pass --bad-images skip to go on without it.")
    assert not (tmp_path / "error").exists()
    assert refusal("train", SMALLEST, "--data", data, "--bad-images", "keep") == (
        "leannet: --bad-images keep: it is neither error nor skip. Pass one of them."
    )


def test_advice_for_classes_of_different_sizes(tmp_path):
    data = make_images(tmp_path / "trees", {"train/ash": 30, "train/birch": 2, "test/ash": 2, "test/birch": 2})
    advice = "ash has 30 training images and birch 2: try --class-weights sqrt or --sampler balanced"
    assert advice in train(data, tmp_path / "plain", "--val-fraction", 0).err
    assert advice in results(tmp_path / "plain")["notes"][-1]
    for more in (("--class-weights", "sqrt"), ("--sampler", "balanced")):
        assert advice not in train(data, tmp_path / more[1], "--val-fraction", 0, *more).err
        field = more[0].removeprefix("--").replace("-", "_")
        assert arguments(tmp_path / more[1])["recipe"][field] == more[1]


@pytest.mark.parametrize("no_color", [False, True])
def test_plain_lines_where_there_is_no_terminal(trees, tmp_path, monkeypatch, no_color):
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    answer = train(trees, tmp_path / "out")
    assert not {"\x1b", "\r"} & set(answer.out + answer.err)
    assert sum(line.startswith("  epoch 1/1: ") for line in answer.err.splitlines()) == 1


def test_the_memory_it_took_is_that_of_this_process(trees, tmp_path):
    train(trees, tmp_path / "run")
    peak = results(tmp_path / "run")["peak_memory_bytes"]
    now = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    assert 0.5 * now < peak <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
