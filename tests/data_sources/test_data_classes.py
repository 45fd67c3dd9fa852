"""Labels of a trained network, matched by name; and the validation part that is made where there is none."""

import numpy as np
import pytest
from numbered_images import colours

from leannet.data import open_source, with_validation
from leannet_runtime.errors import UserError

NETWORK = ("emu", "cat", "ant")  # in an order of its own


def message(action, *args, **options):
    with pytest.raises(UserError) as caught:
        action(*args, **options)
    return str(caught.value)


def test_labels_are_indices_into_the_names_of_the_network(make_folder):
    root = make_folder({"train/ant": 1, "train/cat": 1, "test/cat": 2, "test/ant": 1})
    source = open_source(root, class_names=NETWORK)
    assert source.class_names == NETWORK
    assert source.splits["test"].labels.tolist() == [2, 1, 1]
    assert source.splits["train"].labels.tolist() == [2, 1]
    assert source.notes == ("the train part has no images of emu", "the test part has no images of emu")


@pytest.mark.parametrize("part", ["test", "val"])
def test_one_held_out_part_is_enough_for_a_network_and_stays_whole(make_folder, part):
    root = make_folder({f"{part}/cat": 3, f"{part}/emu": 1})
    source = open_source(root, class_names=NETWORK)
    name, split = source.held_out
    assert name == ("test" if part == "test" else "validation")
    assert list(source.splits) == [name]
    assert split.labels.tolist() == [1, 1, 1, 0]
    assert len(source.fingerprint) == 64


def test_one_class_is_enough_for_a_network(make_folder):
    source = open_source(make_folder({"test/cat": 2}), class_names=NETWORK)
    assert source.splits["test"].labels.tolist() == [1, 1]


@pytest.mark.parametrize("layout", ["{}", "train/{}"])
def test_network_is_judged_on_what_its_training_held_out(make_folder, layout):
    root = make_folder({layout.format(name): 10 for name in ("ant", "cat", "emu")})
    trained = open_source(root, seed=4)
    judged = open_source(root, seed=4, class_names=NETWORK)
    assert judged.split_lists == trained.split_lists
    names = [trained.class_names[label] for label in trained.splits["test"].labels]
    assert [NETWORK[label] for label in judged.splits["test"].labels] == names
    make_folder({layout.format("fox"): 3})
    judged = open_source(root, seed=4, class_names=NETWORK, ignore_unknown_classes=True)
    assert judged.split_lists == trained.split_lists


def test_single_images_are_not_held_out_from_a_network(make_folder):
    root = make_folder({"ant": 1, "cat": 5})
    source = open_source(root, class_names=NETWORK)
    assert np.bincount(source.splits["train"].labels).tolist() == [0, 4, 1]
    assert source.notes[-1] == "ant: one training image only, not held out"
    said = message(open_source, make_folder({"ant": 1, "cat": 1}, name="few"), class_names=NETWORK)
    assert "no class has two images, of which one could be held out. Add images, or put these into FOLDER/test" in said


def test_unknown_classes_are_named(make_folder):
    root = make_folder({"test/cat": 1, "test/dog": 2, "test/fox": 1})
    assert message(open_source, root, class_names=NETWORK) == (
        f"cannot use {root}: the test part has classes that the network lacks: dog, fox. "
        "Rename or remove them; train and evaluate leave them out with --ignore-unknown-classes."
    )
    source = open_source(root, class_names=NETWORK, ignore_unknown_classes=True)
    assert source.splits["test"].identifiers() == ["test/cat/0.png"]
    assert "the test part: 3 images left out, of classes that the network lacks: dog, fox" in source.notes
    said = message(open_source, root, class_names=("a", "b"), ignore_unknown_classes=True)
    assert "lacks: cat, dog, fox, and no others. Its classes are a, b." in said


def test_classes_that_training_lacks_may_be_left_out(make_folder):
    root = make_folder({"train/cat": 1, "train/dog": 1, "test/cat": 1, "test/emu": 2, "test/dog": 1})
    source = open_source(root, ignore_unknown_classes=True)
    assert source.splits["test"].identifiers() == ["test/cat/0.png", "test/dog/0.png"]
    assert colours(source.splits["test"]) == [2, 5]
    assert source.notes == ("the test part: 2 images left out, of classes that the training part lacks: emu",)


def test_many_names_are_cut_short(make_folder):
    root = make_folder({"test/cat": 1, **{f"test/{number:02}": 1 for number in range(30)}})
    said = message(open_source, root, class_names=NETWORK)
    assert "lacks: 00, 01, 02, 03, 04, 05, 06, 07, 08, 09 and 20 more. Rename" in said


def test_two_classes_of_one_name_cannot_be_matched(make_folder):
    said = message(open_source, make_folder({"test/crane": 1}), class_names=("crane", "cat", "crane"))
    assert "two classes of the network are called 'crane'" in said


def test_parquet_labels_go_by_name(make_parquet):
    path = make_parquet("test.parquet", [0, 1, 1], ["cat", "ant"])
    source = open_source(path.parent, class_names=NETWORK)
    assert source.splits["test"].labels.tolist() == [1, 2, 2]


def test_validation_is_a_stratified_part_of_training(make_folder):
    source = open_source(make_folder({"train/a": 20, "train/b": 10, "test/a": 1, "test/b": 1}))
    made = with_validation(source, 0.1, seed=2)
    assert list(made.splits) == ["train", "validation", "test"]
    assert np.bincount(made.splits["validation"].labels).tolist() == [2, 1]
    parts = [set(made.split_lists[name]) for name in ("train", "validation")]
    assert not parts[0] & parts[1]
    assert parts[0] | parts[1] == set(source.split_lists["train"])
    assert made.split_lists["test"] == source.split_lists["test"]
    assert made.notes[-1] == "no validation part there: 10% of each class of the training part held out, by seed 2"
    assert with_validation(source, 0.1, seed=2).split_lists == made.split_lists
    assert with_validation(source, 0.1, seed=3).split_lists != made.split_lists
    assert made.held_out[0] == "test"


def test_nothing_is_made_where_validation_is_there_or_not_wanted(make_folder):
    source = open_source(make_folder({"train/a": 5, "train/b": 5, "val/a": 1, "val/b": 1}))
    assert with_validation(source, 0.2, seed=0) is source
    flat = open_source(make_folder({"a": 5, "b": 5}, name="flat"))
    assert with_validation(flat, 0, seed=0) is flat
    for fraction in (-0.1, 1.0):
        assert "it is a share from 0 to below 1" in message(with_validation, flat, fraction, seed=0)


def test_single_images_stay_in_training(make_folder):
    source = open_source(make_folder({"train/a": 5, "train/b": 1, "test/a": 1, "test/b": 1}))
    made = with_validation(source, 0.5, seed=0)
    assert {name: np.bincount(split.labels).tolist() for name, split in made.splits.items()} == {
        "train": [3, 1],
        "validation": [2],
        "test": [1, 1],
    }
    assert made.notes[-1] == "b: one training image only, not held out"
    few = open_source(make_folder({"train/a": 1, "train/b": 1, "test/a": 1, "test/b": 1}, name="few"))
    assert with_validation(few, 0.5, seed=0).split_lists == few.split_lists
