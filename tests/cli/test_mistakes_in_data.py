"""Images and folders that cannot be used: named, with the reason and the remedy, and nothing lost."""

import importlib
import json
import os

import pytest
import timm
from command_line import QUICK, SMALLEST, leannet, make_images, make_trees, refusal
from timm.models import register_model
from torch import nn


@pytest.fixture
def own_trees(tmp_path):
    return make_trees(tmp_path / "own", train=4, test=3)


def compare(data, output, *arguments):
    return "compare", SMALLEST, "--data", data, *QUICK, "--output", output, *arguments


def test_nothing_there(tmp_path):
    said = refusal(*compare("missing", "out"))
    assert said.startswith("leannet: cannot open missing: no such file or folder. ")
    assert "OWNER/NAME" in said
    assert not (tmp_path / "out").exists()


def test_folder_without_images(tmp_path):
    (tmp_path / "empty").mkdir()
    said = refusal(*compare("empty", "out"))
    assert "cannot use empty: no images found in class folders; the folder is empty" in said
    assert "Expected FOLDER/CLASS/image.jpg" in said


def test_one_class_only(tmp_path):
    said = refusal(*compare(make_images(tmp_path / "one", {"ash": 3}), "out"))
    assert "all training images are of one class, 'ash'" in said
    assert said.endswith("Give at least two classes.")


def test_class_that_training_lacks(own_trees):
    make_images(own_trees, {"test/zelkova": 1})
    said = refusal(*compare(own_trees, "out"))
    assert "the test part has classes that the training part lacks: zelkova" in said
    assert "Add training images of them, remove them, or use leannet train --ignore-unknown-classes." in said


def test_image_that_is_none(own_trees, tmp_path):
    (own_trees / "train/birch/1.png").write_text("no image")
    said = refusal(*compare(own_trees, "out"))
    assert "cannot read train/birch/1.png: not an image (1 of 12 images of the train part cannot be read)" in said
    assert "--bad-images skip" in said

    answer = leannet(*compare(own_trees, "out", "--bad-images", "skip"))
    assert answer.code == 0
    note = "skipped 1 of 12 images of the train part that cannot be read, the first: train/birch/1.png: not an image"
    assert f"note: {note}" in answer.err
    assert "own: 11 images to train, 9 held out (test)" in answer.err
    described = json.loads((tmp_path / "out" / "results.json").read_text())["data"]
    assert described["notes"] == [note]
    assert described["images"] == {"train": 11, "test": 9}


def test_first_held_out_image_is_none(own_trees):
    (own_trees / "test/ash/0.png").write_text("no image")
    answer = leannet(*compare(own_trees, "out", "--bad-images", "skip"))
    assert answer.code == 0


def test_brackets_in_a_class_name_are_printed(tmp_path):
    data = make_images(tmp_path / "data", {"train/[ash]": 4, "train/birch": 4, "test/birch": 2})
    assert "the test part has no images of [ash]" in leannet(*compare(data, "out")).err


def test_output_that_is_a_file(trees, tmp_path):
    (tmp_path / "out").write_text("mine")
    for output in ("out", "out/below"):
        said = refusal(*compare(trees, output))
        assert f"cannot write {output}: " in said
        assert said.endswith("Choose another folder with --output.")
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_output_that_is_read_only(trees, tmp_path):
    (tmp_path / "out").mkdir(mode=0o500)
    said = refusal(*compare(trees, "out"))
    assert "cannot write out: Permission denied" in said
    assert said.endswith("Choose another folder with --output.")


def test_no_space_while_results_are_written(trees, tmp_path, monkeypatch):
    """The results of the earlier call stay whole, and so does every finished training."""
    arguments = compare(trees, "out")
    assert leannet(*arguments).code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    files = importlib.import_module("leannet_runtime.files")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    said = refusal(*arguments)
    assert "No space left on device. Make room and run the command again." in said
    after = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert after == before


class FeatureMaps(nn.Module):
    """No classifier: it gives a map."""

    num_classes, in_chans = 3, 3

    def __init__(self):
        super().__init__()
        self.only = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return self.only(x)


@pytest.fixture
def no_classifier():
    @register_model
    def feature_maps_only(pretrained=False, **kwargs):
        return FeatureMaps()

    yield "feature_maps_only"
    for names in (timm.models._registry._model_entrypoints, timm.models._registry._model_to_module):
        names.pop("feature_maps_only", None)


def test_network_that_is_no_classifier(trees, no_classifier):
    said = refusal("compare", no_classifier, "--data", trees, *QUICK, "--no-small-input", "--output", "out")
    assert no_classifier in said
