"""What opens, and how it is divided and numbered."""

import os
import random

import datasets
import numpy as np
import pytest
from numbered_images import colours, png

from leannet.data import open_source
from leannet.data import source as source_module
from leannet.data.formats import hub


def labelled(split, class_names):
    return {split.identifier(i): class_names[label] for i, label in enumerate(split.labels)}


def test_digits():
    source = open_source("digits", seed=3)
    assert source.name == "digits"
    assert not source.mirror
    assert source.class_names == tuple("0123456789")
    assert {name: len(split) for name, split in source.splits.items()} == {"train": 1438, "test": 359}
    assert source.held_out[0] == "test"
    assert "20% of each class held out for testing, by seed 3" in source.notes[0]
    from sklearn.datasets import load_digits

    digits = load_digits()
    split = source.splits["test"]
    for index in (0, 100, 358):
        number = int(split.identifier(index).removeprefix("digit "))
        assert split.labels[index] == digits.target[number]
        expected = np.rint(digits.images[number] * 255 / 16)
        np.testing.assert_array_equal(np.asarray(split.read(index)), np.stack([expected] * 3, -1))


def test_split_is_stratified_complete_and_a_function_of_the_seed():
    first, again, other = (open_source("digits", seed=seed) for seed in (0, 0, 1))
    assert first.split_lists == again.split_lists
    assert first.fingerprint == again.fingerprint
    assert first.split_lists != other.split_lists
    assert first.fingerprint != other.fingerprint
    train, test = (set(first.split_lists[name]) for name in ("train", "test"))
    assert not train & test
    assert len(train | test) == 1797
    for label in range(10):
        held, kept = ((split.labels == label).sum() for split in (first.splits["test"], first.splits["train"]))
        assert abs(held - 0.2 * (held + kept)) <= 0.5


def test_flat_folder_does_not_depend_on_the_order_of_files(make_folder, monkeypatch):
    root = make_folder({"cat": 9, "dog": 2, "emu": 5})
    expected = open_source(root)
    assert {name: np.bincount(split.labels).tolist() for name, split in expected.splits.items()} == {
        "train": [7, 1, 4],
        "test": [2, 1, 1],
    }
    walk = os.walk

    def shuffled(*args, **options):
        for where, folders, files in walk(*args, **options):
            random.Random(len(files)).shuffle(files)
            yield where, folders, files

    monkeypatch.setattr(os, "walk", shuffled)
    assert open_source(root).split_lists == expected.split_lists


def test_one_added_image_moves_few_others(make_folder):
    before = set(open_source(make_folder({"cat": 50, "dog": 50})).split_lists["test"])
    after = set(open_source(make_folder({"cat": 51, "dog": 50})).split_lists["test"])
    assert len(before - after) <= 1


@pytest.mark.parametrize(
    ("train", "other", "held_out"),
    [
        ("train", "test", "test"),
        ("Training", "EVAL", "test"),
        ("train", "val", "validation"),
        ("TRAIN", "valid", "validation"),
        ("train", "dev", "validation"),
        ("training", "testing", "test"),
    ],
)
def test_words_for_splits(make_folder, train, other, held_out):
    root = make_folder({f"{train}/b": 2, f"{train}/a": 3, f"{other}/a": 1, f"{other}/b": 1})
    source = open_source(root)
    assert source.name == "photos"
    assert source.held_out[0] == held_out
    assert list(source.splits) == ["train", held_out]
    assert source.split_lists["train"] == [f"{train}/a/{n}.png" for n in range(3)] + [
        f"{train}/b/{n}.png" for n in (0, 1)
    ]
    assert colours(source.splits["train"]) == [2, 3, 4, 0, 1]


def test_test_part_is_judged_on_where_validation_is_there_too(make_folder):
    root = make_folder({f"{part}/{name}": 2 for part in ("train", "val", "test") for name in "ab"})
    source = open_source(root)
    assert list(source.splits) == ["train", "validation", "test"]
    assert source.held_out == ("test", source.splits["test"])


def test_training_part_alone_is_split(make_folder):
    source = open_source(make_folder({"train/a": 5, "train/b": 5}))
    assert {name: len(split) for name, split in source.splits.items()} == {"train": 8, "test": 2}
    assert "no test part" in source.notes[0]


def test_classes_go_by_name_and_sort_plainly(make_folder):
    root = make_folder({"train/10": 1, "train/2": 1, "train/1": 1, "val/2": 1, "val/10": 1})
    source = open_source(root)
    assert source.class_names == ("1", "10", "2")
    assert labelled(source.splits["validation"], source.class_names) == {"val/10/0.png": "10", "val/2/0.png": "2"}
    assert source.notes == ("the validation part has no images of 1",)


def test_a_class_may_be_called_train(make_folder):
    source = open_source(make_folder({"bus": 3, "train": 3, "tram": 3}))
    assert source.class_names == ("bus", "train", "tram")


def test_only_images_count(make_folder):
    root = make_folder({"cat": 3, "dog": 3, "dog/more": 2, "empty": 0, ".hidden": 2})
    for name in ("cat/README.md", "cat/Thumbs.db", "cat/.DS_Store", "cat/._0.png", "notes.txt"):
        (root / name).write_text("no image")
    source = open_source(root)
    assert sorted(source.split_lists["train"] + source.split_lists["test"]) == sorted(
        [f"cat/{n}.png" for n in range(3)] + [f"dog/{n}.png" for n in range(3)] + [f"dog/more/{n}.png" for n in (0, 1)]
    )
    assert "empty holds no image: not a class" in source.notes


def test_what_stands_where_an_image_is_meant_is_not_passed_over(make_folder):
    root = make_folder({"train/a": 2, "train/b": 1, "train/b/folder.jpg": 1, "train/b/more": 1, "test/a": 1})
    (root / "train/a/link.png").symlink_to("nowhere")
    (root / "train/c").symlink_to("nowhere", target_is_directory=True)
    source = open_source(root)
    assert source.split_lists["train"] == [
        *("train/a/0.png", "train/a/1.png", "train/a/link.png"),
        *("train/b/0.png", "train/b/folder.jpg", "train/b/more/0.png"),
    ]
    assert source.splits["train"].sizes()[2] == 0
    assert len(source.fingerprint) == 64
    assert "train/c: a link to nothing, ignored" in source.notes


def test_parquet_files_by_split(make_parquet):
    make_parquet("train-00000-of-00002.parquet", [1, 0, 1], ["zebra", "ape"])
    make_parquet("train-00001-of-00002.parquet", [0, 1], ["zebra", "ape"])
    folder = make_parquet("test.parquet", [1, 0], ["zebra", "ape"]).parent
    source = open_source(folder)
    assert source.name == "table"
    assert source.class_names == ("ape", "zebra")
    assert source.splits["train"].labels.tolist() == [0, 1, 0, 1, 0]
    assert colours(source.splits["train"]) == [0, 1, 2, 0, 1]
    assert source.splits["train"].identifier(4) == "train-00001-of-00002.parquet row 1"
    assert source.splits["test"].identifiers() == ["test.parquet row 0", "test.parquet row 1"]
    assert len(source.fingerprint) == 64


@pytest.mark.parametrize("labels", [["b", "a"] * 5, [3, 2] * 5])
def test_one_plain_parquet_file_is_split(make_parquet, labels):
    source = open_source(make_parquet("animals.parquet", labels, plain=True))
    assert source.name == "animals"
    assert source.class_names == tuple(sorted({str(label) for label in labels}))
    assert {name: len(split) for name, split in source.splits.items()} == {"train": 8, "test": 2}
    for split in source.splits.values():
        assert [str(labels[value]) for value in colours(split)] == [source.class_names[label] for label in split.labels]


def as_dataset(labels, names):
    features = datasets.Features({"img": datasets.Image(), "coarse": datasets.ClassLabel(names=["x"]),
                                  "fine_label": datasets.ClassLabel(names=names)})  # fmt: skip
    images = [{"bytes": png(value), "path": None} for value in range(len(labels))]
    return datasets.Dataset.from_dict({"img": images, "coarse": [0] * len(labels), "fine_label": labels}, features)


def test_hub(monkeypatch):
    found = datasets.DatasetDict(
        train=as_dataset([2, 0, 1], ["b", "c", "a"]), test=as_dataset([-1, -1, -1], ["b", "c", "a"]),
        val=as_dataset([1, 2], ["b", "c", "a"]), extra=as_dataset([0], ["b", "c", "a"]),
    )  # fmt: skip
    monkeypatch.setattr(datasets, "load_dataset", {"Owner/My.Set": found}.__getitem__)
    source = open_source("Owner/My.Set")
    assert source.name == "my.set"
    assert source.class_names == ("a", "b", "c")
    assert source.splits["train"].labels.tolist() == [0, 1, 2]
    assert list(source.splits) == ["train", "validation"]
    assert colours(source.splits["validation"]) == [0, 1]
    assert source.splits["validation"].identifier(1) == "val row 1"
    assert source.notes[:2] == ("test: its labels are not public, not used", "extra: not used")
    assert len(source.fingerprint) == 64


def test_large_parquet_is_mapped_and_gives_the_same(make_parquet, monkeypatch, tmp_path):
    make_parquet("train.parquet", [1, 0, 1], ["zebra", "ape"])
    folder = make_parquet("test.parquet", [1, 0], ["zebra", "ape"]).parent
    expected = open_source(folder)
    monkeypatch.setattr(source_module, "PARQUET_IN_MEMORY", 10)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    source = open_source(folder)
    assert isinstance(source.splits["train"].images, hub.HubImages)
    assert source.class_names == expected.class_names
    for name, split in source.splits.items():
        assert split.labels.tolist() == expected.splits[name].labels.tolist()
        assert colours(split) == colours(expected.splits[name])


def test_fingerprint_notices_a_changed_file(make_folder):
    root = make_folder({"a": 3, "b": 3})
    before = open_source(root).fingerprint
    assert open_source(str(root)).fingerprint == before
    (root / "a" / "0.png").write_bytes((root / "a" / "0.png").read_bytes() + b"more")
    assert open_source(root).fingerprint != before


def test_real_sets(shared):
    cifar = open_source(shared / "cifar10")
    assert cifar.name == "cifar10"
    assert {name: len(split) for name, split in cifar.splits.items()} == {"train": 50_000, "test": 10_000}
    assert cifar.class_names[:3] == ("airplane", "automobile", "bird")
    assert np.bincount(cifar.splits["train"].labels).tolist() == [5000] * 10
    assert cifar.splits["test"].read(17).size == (32, 32)
    clothing = open_source(shared / "clothing")
    assert {name: len(split) for name, split in clothing.splits.items()} == {
        "train": 3068,
        "validation": 341,
        "test": 372,
    }
    assert clothing.class_names[-1] == "t-shirt"
    assert clothing.notes == ()
