"""A network judged on the data of its own run: the parts are those that the run wrote down."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from command_line import TREES, leannet, make_images, make_trees, refusal
from model_folders import make_model_folder, rows_of
from train_runs import results, train

from leannet import UserError
from leannet.training.runs import open_run_source


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_trees(tmp_path_factory.mktemp("own") / "trees")


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """A run that made its validation part out of the training part: two of eight images of each class."""
    folder = tmp_path_factory.mktemp("run") / "run"
    train(data, folder)
    return folder


def judged(folder, *arguments):
    """Judge the best network of a run; return the images in order, and what was printed."""
    answer = leannet("evaluate", folder / "best", *arguments, "--output", "out")
    assert answer.code == 0, answer.err
    return [row["image"] for row in rows_of(Path("out") / "predictions.csv")], answer


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_parts_are_those_of_the_run(run, data, part):
    lists = json.loads((run / "splits.json").read_text())
    for arguments in ((), ("--data", data), ("--data", data / ".." / "trees")):
        images, _ = judged(run, "--split", part, *arguments)
        assert images == lists[part]


def test_validation_gives_the_figures_of_the_run(run):
    _, answer = judged(run, "--split", "validation", "--json")
    found = json.loads(answer.out)
    assert found["figures"]["top1"]["value"] == pytest.approx(results(run)["validation"]["top1"]["value"])
    assert found["figures"]["loss"]["value"] == pytest.approx(results(run)["validation"]["loss"], rel=1e-4)
    described = json.loads((run / "environment.json").read_text())["data"]
    assert found["data"]["fingerprint"] == described["fingerprint"]


def test_test_part_stays_the_default(run):
    _, answer = judged(run, "--json")
    assert json.loads(answer.out)["data"]["split"] == "test"
    recorded = [yaml.safe_load((folder / "args.yaml").read_text())["data"] for folder in (run, Path("out"))]
    assert recorded[0] == recorded[1]


def test_no_part_is_made_of_other_data(run, trees):
    said = refusal("evaluate", run / "best", "--data", trees, "--split", "validation")
    assert said == f"leannet: no split validation: {trees} has train and test. Pass one of them as --split."


@pytest.mark.parametrize("fraction", [0, None, "a tenth"])
def test_no_part_is_made_where_the_run_made_none(run, data, tmp_path, fraction):
    copy = shutil.copytree(run, tmp_path / "copy")
    settings = yaml.safe_load((copy / "args.yaml").read_text())
    (copy / "args.yaml").write_text(yaml.safe_dump(settings | {"val_fraction": fraction}))
    said = refusal("evaluate", copy / "best", "--split", "validation")
    assert said == f"leannet: no split validation: {data} has train and test. Pass one of them as --split."


def test_own_validation_part_is_taken_as_it_is(tmp_path):
    counts = {f"{part}/{name}": 4 for part in ("train", "val", "test") for name in TREES}
    train(make_images(tmp_path / "data", counts), tmp_path / "run")
    images, _ = judged(tmp_path / "run", "--split", "validation")
    assert len(images) == 12
    assert all(image.startswith("val/") for image in images)


def test_data_of_one_part_fall_into_the_same_parts(tmp_path):
    train(make_images(tmp_path / "data", dict.fromkeys(TREES, 10)), tmp_path / "run")
    lists = json.loads((tmp_path / "run" / "splits.json").read_text())
    source = open_run_source(tmp_path / "run" / "best")
    assert source.split_lists == lists
    assert {part: len(images) for part, images in lists.items()} == {"train": 18, "validation": 6, "test": 6}


def test_classes_are_numbered_as_the_network_does(run, data, tmp_path):
    order = ("cedar", "ash", "birch")
    shutil.copy(run / "args.yaml", tmp_path)
    source = open_run_source(make_model_folder(tmp_path / "best", data, order, steps=0))
    assert source.class_names == order
    expected = json.loads((run / "splits.json").read_text())["validation"]
    assert source.splits["validation"].identifiers() == expected
    names = [source.class_names[label] for label in source.splits["validation"].labels]
    assert names == [image.split("/")[1] for image in expected]


def test_classes_that_the_run_left_out_are_left_out(tmp_path):
    counts = {"train/ash": 4, "train/birch": 4, "test/ash": 2, "test/birch": 2, "test/daisy": 2}
    data = make_images(tmp_path / "data", counts)
    train(data, tmp_path / "run", "--ignore-unknown-classes")
    images, answer = judged(tmp_path / "run")
    assert len(images) == 4
    assert "the test part: 2 images left out, of classes that the network lacks: daisy" in answer.err
    other = shutil.copytree(data, tmp_path / "other")
    assert "classes that the network lacks: daisy" in refusal("evaluate", tmp_path / "run/best", "--data", other)


def test_images_that_changed_since_are_noted(run, data, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    lists = json.loads((copy / "splits.json").read_text())
    assert not any("learned" in note for note in open_run_source(copy / "best").notes)
    moved = lists["validation"][:2]
    lists["train"] += moved
    (copy / "splits.json").write_text(json.dumps(lists))
    expected = "the images have changed since the run: the network has learned from 2 of the validation part"
    assert open_run_source(copy / "best").notes[-1] == expected


def test_nobody_says_what_the_data_are(data, tmp_path):
    folder = make_model_folder(tmp_path / "best", data, steps=0)
    with pytest.raises(UserError, match=r"no run beside .*best says on what the network was trained\. Pass --data"):
        open_run_source(folder)
    assert list(open_run_source(folder, str(data)).splits) == ["train", "test"]
