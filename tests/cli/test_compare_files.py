"""One comparison from beginning to end: what it prints, what it writes, and whether the accuracy is true."""

import csv
import json

import numpy as np
import pytest
import timm
import torch
import yaml
from command_line import QUICK, TREES, leannet, make_images, table_of
from PIL import Image
from scipy.stats import binomtest
from torchvision import transforms

from leannet.training import Recipe, load_recipe

# leannet's own, one whose weights belong to a size, and one of timm in its small form.
NETWORKS = ("resnet20_cifar", "mobilenetv2_cse", "test_efficientnet")


@pytest.fixture(scope="module")
def output(trees, tmp_path_factory):
    return tmp_path_factory.mktemp("runs") / "trees"


@pytest.fixture(scope="module")
def answer(trees, output):
    answer = leannet("compare", *NETWORKS, "--data", trees, *QUICK, "--output", output)
    assert answer.code == 0, answer.err
    return answer


@pytest.fixture(scope="module")
def records(answer, output):
    return {name: json.loads((output / "networks" / name / "seed-0" / "record.json").read_text()) for name in NETWORKS}


@pytest.fixture(scope="module")
def results(answer, output):
    return json.loads((output / "results.json").read_text())


def test_every_file_is_there_and_nothing_else(answer, output):
    files = {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()}
    run = ("config.json", "model.safetensors", "record.json", "environment.json", "epochs.csv", "predictions.csv")
    pictures = {file for file in files if file.startswith("disagreements/")}
    listed = json.loads((output / "disagreements.json").read_text())["pictures"] if pictures else []
    assert pictures == {entry["file"] for entry in listed}
    assert files - pictures - {"disagreements.json"} == {
        *("results.csv", "results.json", "report.html", "args.yaml", "environment.json", "splits.json"),
        *(f"networks/{name}/seed-0/{file}" for name in NETWORKS for file in run),
    }


def test_table_shows_every_network_the_most_accurate_first(answer, records):
    rows = table_of(answer)
    assert {row[1] for row in rows} == set(NETWORKS)
    accuracies = [float(row[2]) for row in rows]
    assert accuracies == sorted(accuracies, reverse=True)
    for _, name, top1, *_ in rows:
        assert top1 == f"{100 * records[name]['correct'] / records[name]['total']:.2f}"


def test_star_marks_those_that_nothing_beats(answer, records):
    for star, name, *_ in table_of(answer):
        mine = records[name]
        beaten = any(
            other["correct"] >= mine["correct"]
            and other["macs"] <= mine["macs"]
            and (other["correct"], other["macs"]) != (mine["correct"], mine["macs"])
            for other in records.values()
        )
        assert star is not beaten


def test_interval_of_one_seed_is_wilsons(answer, records, results):
    for _, name, _, low, high, *_ in table_of(answer):
        interval = binomtest(records[name]["correct"], 15).proportion_ci(method="wilson")
        assert (low, high) == (f"{100 * interval.low:.2f}", f"{100 * interval.high:.2f}")
    assert {row["top1"]["method"] for row in results["rows"]} == {"Wilson, one seed"}
    assert "Interval: Wilson, one seed, 15 held-out images." in answer.out


@pytest.mark.parametrize("name", NETWORKS)
def test_accuracy_is_that_of_the_saved_network(name, records, output, trees):
    """Judge the model folder with timm and torchvision alone, by the preprocessing that stands in it."""
    folder = output / "networks" / name / "seed-0"
    config = json.loads((folder / "config.json").read_text())
    assert config["label_names"] == list(TREES)
    described = config["pretrained_cfg"]
    _, *size = described["input_size"]
    assert (size, described["crop_pct"], described["interpolation"]) == ([16, 16], 1.0, "bicubic")
    prepare = transforms.Compose(
        [
            transforms.Resize(int(size[0] / described["crop_pct"]), transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(size),
            transforms.ToTensor(),
            transforms.Normalize(described["mean"], described["std"]),
        ]
    )
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    correct = 0
    for label, tree in enumerate(config["label_names"]):
        images = [Image.open(path).convert("RGB") for path in sorted((trees / "test" / tree).iterdir())]
        with torch.inference_mode():
            correct += int((model(torch.stack([*map(prepare, images)])).argmax(dim=1) == label).sum())
    assert (records[name]["correct"], records[name]["total"]) == (correct, 15)
    assert records[name]["parameters"] == sum(tensor.numel() for tensor in model.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_answers_to_single_images_are_those_that_were_counted(name, records, output, trees):
    with (output / "networks" / name / "seed-0" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["image"] for row in rows) == sorted(
        path.relative_to(trees).as_posix() for path in (trees / "test").rglob("*.png")
    )
    assert all(row["image"].split("/")[1] == row["label"] for row in rows)
    assert sum(row["label"] == row["predicted"] for row in rows) == records[name]["correct"]


def test_splits_are_the_folders(answer, output, trees):
    splits = json.loads((output / "splits.json").read_text())
    assert set(splits) == {"train", "test"}
    for part, files in splits.items():
        assert sorted(files) == sorted(path.relative_to(trees).as_posix() for path in (trees / part).rglob("*.png"))


def test_epochs_are_a_table(answer, output, records):
    for name in NETWORKS:
        with (output / "networks" / name / "seed-0" / "epochs.csv").open() as file:
            [row] = csv.DictReader(file)
        assert row["epoch"] == "1"
        assert float(row["loss"]) == pytest.approx(records[name]["loss"], rel=1e-5)
        assert np.isfinite(float(row["loss"]))
        assert float(row["images_per_second"]) * float(row["seconds"]) == pytest.approx(24, rel=1e-3)


def test_arguments_are_a_recipe(answer, output, trees):
    arguments = yaml.safe_load((output / "args.yaml").read_text())
    assert arguments["networks"] == list(NETWORKS)
    assert (arguments["data"], arguments["seeds"]) == (str(trees), [0])
    expected = load_recipe("default").override(epochs=1, batch_size=8, img_size=16)
    assert load_recipe(str(output / "args.yaml")) == expected
    assert Recipe(**arguments["recipe"]) == expected


def test_circumstances_are_written(answer, output, results):
    described = json.loads((output / "environment.json").read_text())
    assert described["packages"]["torch"] == torch.__version__.partition("+")[0]
    assert described["data"] == results["data"]
    assert results["data"]["classes"] == list(TREES)
    assert results["data"]["images"] == {"train": 24, "test": 15}
    assert results["data"]["judged_on"] == "test"
    assert len(results["data"]["fingerprint"]) == 64
    assert (results["recipe"]["img_size"], results["recipe"]["crop_pct"]) == (16, 1.0)


def test_where_it_lies_and_what_to_do_next_is_said(answer, output):
    flowing = answer.out.replace("\n", "")
    assert f"Written to {output}: report.html, results.csv" in flowing
    best = output / "networks" / table_of(answer)[0][1] / "seed-0"
    assert f"Next: leannet profile {best} --per-layer" in flowing
    assert "trees: 24 images to train, 15 held out (test), 3 classes, 16 px" in answer.err
    assert leannet("profile", best).code == 0


def test_long_path_is_not_folded(trees, tmp_path):
    output = tmp_path / ("long" * 20) / ("path" * 20)
    answer = leannet("compare", NETWORKS[0], "--data", trees, *QUICK, "--output", output)
    assert f"Next: leannet profile {output}/networks/{NETWORKS[0]}/seed-0 --per-layer" in answer.out


def test_brackets_in_a_path_are_printed(trees, tmp_path):
    output = tmp_path / "runs[bold]"
    answer = leannet("compare", NETWORKS[0], "--data", trees, *QUICK, "--output", output)
    assert "runs[bold]" in answer.out


def test_one_part_only_is_divided(tmp_path):
    data = make_images(tmp_path / "flat", dict.fromkeys(TREES, 10))
    answer = leannet("compare", "resnet20_cifar", "--data", data, *QUICK, "--output", tmp_path / "out")
    assert answer.code == 0
    assert "flat: 24 images to train, 6 held out (test), 3 classes, 16 px" in answer.err
    note = "no test part there: 20% of each class held out for testing, by seed 0"
    assert f"note: {note}" in answer.err
    assert json.loads((tmp_path / "out" / "results.json").read_text())["data"]["notes"] == [note]
    splits = json.loads((tmp_path / "out" / "splits.json").read_text())
    assert sorted(splits["train"] + splits["test"]) == sorted(f"{tree}/{n}.png" for tree in TREES for n in range(10))
    assert [sum(file.startswith(tree) for file in splits["test"]) for tree in TREES] == [2, 2, 2]
