"""Each mistake of a user, and the words that are said."""

import errno
import os
from pathlib import Path

import datasets
import pytest

from leannet.data import load_pixels, open_source
from leannet_runtime.errors import UserError
from leannet_runtime.preprocessing import Preprocessing

SMALL = Preprocessing(4, crop_pct=1.0)


def message(action, *args, **options):
    with pytest.raises(UserError) as caught:
        action(*args, **options)
    return str(caught.value)


def test_nothing_there(tmp_path):
    said = message(open_source, tmp_path / "photos")
    assert said.startswith(
        f"cannot open {tmp_path / 'photos'}: no such file or folder. Data may be digits, a folder, a p"
    )
    assert "File name too long. Correct the name" in message(open_source, "a" * 5000)
    (tmp_path / "a.zip").write_bytes(b"")
    assert "neither a folder, nor a parquet file, nor a CSV list" in message(open_source, tmp_path / "a.zip")


def test_hub_not_reachable(monkeypatch):
    def unreachable(name):
        raise ConnectionError(f"Couldn't reach '{name}' on the Hub (offline)\nand more")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    said = message(open_source, "owner/photos")
    assert said.startswith("cannot load 'owner/photos': no such file or folder here, and the hub gave no data set")
    assert "(Couldn't reach 'owner/photos' on the Hub (offline))" in said


def test_hub_set_without_images(monkeypatch):
    found = datasets.DatasetDict(train=datasets.Dataset.from_dict({"text": ["a"], "stars": [1]}))
    monkeypatch.setattr(datasets, "load_dataset", {"owner/reviews": found}.__getitem__)
    assert "no image column with a label column, only 'text', 'stars'" in message(open_source, "owner/reviews")


def test_folder_without_images(make_folder):
    root = make_folder({"cat": 0, "dog": 0})
    (root / "list.csv").write_text("")
    said = message(open_source, root)
    assert "no images found in class folders; found cat/, dog/, list.csv" in said
    assert "Expected FOLDER/CLASS/image.jpg, or FOLDER/train/CLASS/image.jpg" in said
    assert "the folder is empty" in message(open_source, make_folder({".": 0}, name="empty"))


def test_large_tree_is_cut_short(make_folder):
    root = make_folder({f"test{number}/{name}": 1 for number in range(12) for name in "abcde"})
    for path in root.glob("*/*/*"):
        path.rename(path.with_suffix(".txt"))
    said = message(open_source, root)
    assert "found test0/ (a/, b/, c/ and 2 more), test1/ (a/, b/, c/ and 2 more), test10/" in said
    assert "test5/ (a/, b/, c/ and 2 more) and 4 more. Expected" in said
    assert "\n" not in said


def test_folder_that_cannot_be_read(make_folder, monkeypatch):
    root = make_folder({"cat": 2, "dog": 2})
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "dog":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    said = message(open_source, root)
    assert said == f"cannot read folder {root / 'dog'}: Permission denied. Make it readable, or remove it."


def test_part_missing_empty_or_there_twice(make_folder):
    said = message(open_source, make_folder({"test/a": 1, "test/b": 1}, name="untrained"))
    assert "it has no training part; found test/ (a/, b/). Expected FOLDER/CLASS/image.jpg, or FOLDER/train/" in said
    said = message(open_source, make_folder({"train/a": 1, "train/b": 1, "val/a": 0}, name="hollow"))
    assert "val holds no images in class folders; found a/" in said
    said = message(open_source, make_folder({f"{part}/{name}": 1 for part in ("train", "val", "dev") for name in "ab"}))
    assert "dev and val both name the validation part" in said


def test_one_class_only(make_folder):
    said = message(open_source, make_folder({"cat": 3}))
    assert "all training images are of one class, 'cat'" in said


def test_class_with_one_image_cannot_be_split(make_folder):
    said = message(open_source, make_folder({"cat": 3, "dog": 1}))
    assert said.startswith("cannot split class 'dog': it has one image only (dog/0.png)")


def test_held_out_class_that_training_lacks(make_folder):
    root = make_folder({"train/cat": 1, "train/dog": 1, "train/emu": 0, "test/cat": 1, "test/emu": 1, "test/fox": 1})
    said = message(open_source, root)
    assert (
        "the test part has classes that the training part lacks: emu, fox. Add training images of them, remove" in said
    )


def test_parquet_mistakes(make_parquet, tmp_path):
    path = make_parquet("a.parquet", [0, 1], columns=("picture", "class"))
    assert f"cannot use {path}: it has no columns 'image' and 'label', only 'picture', 'class'" in message(
        open_source, path
    )
    path.write_bytes(b"no parquet at all")
    assert "not a sound parquet file" in message(open_source, path)
    said = message(open_source, make_parquet("b.parquet", [0, 2], ["x", "y"]))
    assert "row 1 has the label 2, and there are 2 class names" in said
    assert "row 1 has no label" in message(open_source, make_parquet("c.parquet", [0, None, 1]))
    assert "the train part has no images" in message(open_source, make_parquet("d.parquet", []))


@pytest.fixture
def damaged(make_folder):
    root = make_folder({"train/a": 4, "train/b": 4, "test/a": 2, "test/b": 1})
    (root / "train/a/2.png").write_bytes(b"no image")
    (root / "train/b/1.png").write_bytes((root / "train/b/1.png").read_bytes()[:50])
    (root / "test/b/0.png").write_bytes(b"")
    return root


def test_damaged_images_end_everything(damaged):
    said = message(load_pixels, open_source(damaged), "train", SMALL)
    assert said == (
        "cannot read train/a/2.png: not an image (2 of 8 images of the train part cannot be read). "
        "Remove it, or pass --bad-images skip to go on without it."
    )


@pytest.mark.parametrize("limits", [(2**20, 0), (0, 2**20), (0, 0)])
def test_damaged_images_are_skipped_and_counted(damaged, limits):
    memory_limit, disk_limit = limits
    source = open_source(damaged, bad_images="skip", workers=1)
    train = load_pixels(source, "train", SMALL, memory_limit=memory_limit, disk_limit=disk_limit)
    kept = ["train/a/0.png", "train/a/1.png", "train/a/3.png", "train/b/0.png", "train/b/2.png", "train/b/3.png"]
    assert train.split.identifiers() == kept
    assert train.split.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert train.notes[:1] == (
        "skipped 2 of 8 images of the train part that cannot be read, the first: train/a/2.png: not an image",
    )
    test = load_pixels(source, "test", SMALL, memory_limit=memory_limit, disk_limit=disk_limit)
    assert test.split.labels.tolist() == [0, 0]
    assert test.notes[1] == "the test part has no images of b that can be read"


def test_no_sound_image_left(make_folder):
    root = make_folder({"train/a": 2, "train/b": 1, "val/a": 1})
    for name in ("train/b/0.png", "val/a/0.png"):
        (root / name).write_bytes(b"")
    source = open_source(root, bad_images="skip")
    assert "cannot use the train part: no image of b can be read" in message(load_pixels, source, "train", SMALL)
    assert "cannot use the validation part: no image of a" in message(load_pixels, source, "validation", SMALL)
