"""What cannot be judged: named in one line, with the reason and the remedy, before anything is written."""

import json
import shutil

import pytest
import torch
from command_line import TREES, leannet, make_images, make_trees, refusal
from model_folders import make_model_folder
from safetensors.torch import load_file, save_file

OTHERS = ("ash", "birch", "daisy")


@pytest.fixture(scope="module")
def network(trees, tmp_path_factory):
    return make_model_folder(tmp_path_factory.mktemp("run") / "best", trees, steps=1)


@pytest.fixture
def own(network, tmp_path):
    """A copy of the model folder, to be spoiled."""
    return shutil.copytree(network, tmp_path / "own" / "best")


@pytest.fixture
def refuse(trees, tmp_path):
    """Return a function that runs an evaluation that must be refused, and writes nothing."""

    def run(model, *arguments, data=trees):
        said = refusal("evaluate", model, *(("--data", data) if data else ()), *arguments)
        assert not (tmp_path / "runs").exists()
        return said.removeprefix("leannet: ")

    return run


def change_config(folder, **fields):
    config = json.loads((folder / "config.json").read_text()) | fields
    (folder / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value != "gone"}))


def test_no_model_folder(refuse, own, tmp_path):
    remedy = "Give a folder that training wrote."
    assert refuse("missing") == f"missing is no model folder: no such folder. {remedy}"
    assert refuse("missing", data=None) == f"missing is no model folder: no such folder. {remedy}"
    (tmp_path / "empty").mkdir()
    assert refuse("empty") == f"empty is no model folder: it has no config.json. {remedy}"
    expected = f"{own.parent} is no model folder: it has no config.json. Give {own}."
    assert refuse(own.parent) == expected


def test_weights_that_are_missing(refuse, own):
    (own / "model.safetensors").unlink()
    assert refuse(own) == f"cannot use {own}: it has no model.safetensors. Give a folder that training wrote."


@pytest.mark.parametrize("keep", [0, 5, 1000, -1])
def test_weights_that_are_cut_off(refuse, own, keep):
    weights = own / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    said = refuse(own)
    assert said.startswith(f"cannot read {weights}: ")
    assert said.endswith(". Copy or train it again.")


def test_weights_of_another_network(refuse, own):
    save_file({"other.weight": torch.zeros(2)}, own / "model.safetensors")
    why = "its weights are not those of the network in config.json"
    expected = f"cannot use {own / 'model.safetensors'}: {why}. Copy both files from the same folder again."
    assert refuse(own) == expected


def test_weights_that_are_no_numbers(own, trees):
    weights = load_file(own / "model.safetensors")
    save_file({name: tensor * float("nan") for name, tensor in weights.items()}, own / "model.safetensors")
    said = refusal("evaluate", own, "--data", trees)
    assert f"cannot judge {own}: it answers an image with something that is no finite number." in said


@pytest.mark.parametrize("text", ["", "{", "no JSON", b"\xff\xfe{"])
def test_config_that_is_no_json(refuse, own, text):
    (own / "config.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    said = refuse(own)
    assert said.startswith(f"cannot read {own / 'config.json'}: ")
    assert said.endswith(". Give a folder that training wrote.")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"architecture": "gone"}, "it names no architecture"),
        ({"architecture": 7}, "it names no architecture"),
        ({"architecture": "resnet21_cifar"}, "there is no network 'resnet21_cifar'"),
        ({"label_names": "ash"}, "label_names is no list"),
        ({"label_names": ["ash", "birch"]}, "it names 2 classes, and the network answers 3"),
        ({"pretrained_cfg": "gone"}, "pretrained_cfg is not timm's"),
        ({"pretrained_cfg": {"input_size": 16}}, "pretrained_cfg is not timm's"),
        ({"model_args": {"depth": "deep"}}, "depth"),
    ],
)
def test_config_that_does_not_describe_a_network(refuse, own, fields, why):
    change_config(own, **fields)
    said = refuse(own)
    assert said.startswith(f"cannot use {own / 'config.json'}: ")
    assert why in said
    assert said.endswith(". Give a folder that training wrote.")


def test_preprocessing_that_is_not_supported(refuse, own):
    config = json.loads((own / "config.json").read_text())["pretrained_cfg"]
    change_config(own, pretrained_cfg=config | {"crop_mode": "squash"})
    assert "crop_mode 'squash': not supported" in refuse(own)


def test_data_that_nobody_names(refuse, own):
    expected = f"no data given: no run beside {own} says on what the network was trained. Pass --data."
    assert refuse(own, data=None) == expected
    for broken in ("data: [", "data: " + 3000 * "[", "n: 2020-99-99", "data: a\nx: " + 300_000 * "y"):
        (own.parent / "args.yaml").write_text(broken)
        assert refuse(own, data=None) == expected


def test_what_a_strangers_run_names_is_not_fetched(refuse, own, monkeypatch):
    monkeypatch.setattr("leannet.data.source.find_hub", lambda *_, **__: pytest.fail("it is fetched"))
    for named in ("owner/set", "not/here"):
        (own.parent / "args.yaml").write_text(f"data: {named}")
        assert refuse(own, data=None) == (
            f"cannot find the data of {own}: its run was trained on {named}, which is no file or folder here. "
            "Name them with --data, for export with --check-data."
        )


def test_data_of_other_classes(refuse, network, tmp_path):
    data = make_images(tmp_path / "flowers", {"test/daisy": 2, "test/ash": 2})
    said = refuse(network, data=data)
    assert "the test part has classes that the network lacks: daisy" in said
    answer = leannet("evaluate", network, "--data", data, "--ignore-unknown-classes", "--json")
    judged = json.loads(answer.out)["data"]
    assert (judged["images"], judged["classes"]) == (2, list(TREES))
    assert any("2 images left out" in note and "daisy" in note for note in judged["notes"])


def test_split_that_is_not_there(refuse, network, trees):
    expected = f"no split validation: {trees} has train and test. Pass one of them as --split."
    assert refuse(network, "--split", "validation") == expected
    assert refuse(network, "--split", "mine") == expected.replace("validation", "mine")


def test_damaged_image(refuse, network, tmp_path):
    data = make_trees(tmp_path / "data", train=2, test=3)
    (data / "test/birch/1.png").write_text("no image")
    said = refusal("evaluate", network, "--data", data)
    assert "cannot read test/birch/1.png: not an image (1 of 9 images of the test part cannot be read)" in said
    assert not list(tmp_path.rglob("results.json"))
    answer = leannet("evaluate", network, "--data", data, "--bad-images", "skip", "--output", tmp_path / "out")
    assert answer.code == 0
    assert "Left out, since they cannot be read: 1 of 9 images." in answer.out
    judged = json.loads((tmp_path / "out" / "results.json").read_text())["data"]
    assert (judged["images"], judged["skipped"]) == (8, 1)
    assert any("test/birch/1.png" in note for note in judged["notes"])


@pytest.mark.parametrize("value", ["-1", "100.5", "nan", "inf"])
def test_least_accuracy_that_is_none(refuse, network, value):
    said = refuse(network, f"--min-acc={value}")
    assert said == f"--min-acc {value}: it is not a percentage. Pass a number from 0 to 100."


def test_words(refuse, network):
    expected = "--bad-images maybe: it is neither error nor skip. Pass one of them."
    assert refuse(network, "--bad-images", "maybe") == expected
    assert refuse(network, "--device", "tpu") == "unknown device tpu: it is not auto, cpu or cuda. Pass --device auto."


def test_comparison_with_a_network_of_other_classes(refuse, network, own, tmp_path):
    change_config(own, label_names=list(OTHERS))
    expected = (
        f"cannot compare {own}: it does not know cedar and knows daisy too. Compare networks of the same classes."
    )
    assert refuse(network, "--compare", own) == expected


def test_comparison_with_a_network_of_more_classes(refuse, network, tmp_path):
    images = make_trees(tmp_path / "more", train=2, test=1)
    make_images(images, {"train/daisy": 2})
    more = make_model_folder(tmp_path / "more-classes", images, (*TREES, "daisy"), steps=1)
    assert f"cannot compare {more}: it knows daisy too." in refuse(network, "--compare", more)
    change_config(more, label_names="gone")
    assert f"{more} does not fit the data: it answers 4 classes, and there are 3." in refuse(network, "--compare", more)


def test_folder_without_class_names(refuse, own, trees, tmp_path):
    """One that timm wrote, say: taken if the number of classes is right, with a word about it."""
    change_config(own, label_names="gone")
    answer = leannet("evaluate", own, "--data", trees, "--output", tmp_path / "out")
    assert answer.code == 0
    note = f"{own} does not name its classes: that they are those of the data was not checked"
    assert f"note: {note}" in answer.err
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert note in results["data"]["notes"]
    assert results["data"]["classes"] == list(TREES)
    two = make_images(tmp_path / "two", {"train/ash": 2, "train/birch": 2, "test/ash": 1, "test/birch": 1})
    said = refuse(own, data=two)
    assert said.startswith(f"{own} does not fit the data: it answers 3 classes, and there are 2.")


def test_size_that_the_network_cannot_take(refuse, trees, tmp_path):
    gates = make_model_folder(tmp_path / "gates", trees, steps=0, network="mobilenetv2_cse")
    assert "takes images of 16 x 16 pixels, not 20 x 20" in refuse(gates, "--img-size", 20)
    patches = make_model_folder(tmp_path / "patches", trees, steps=0, size=160, network="test_vit")
    said = refuse(patches, "--img-size", 8)
    assert said.startswith(f"{patches} cannot take images of 8 pixels: ")
    assert said.endswith(". Choose another --img-size.")


def test_size_that_it_can_take(network, trees, tmp_path):
    answer = leannet("evaluate", network, "--data", trees, "--img-size", 24, "--json")
    assert json.loads(answer.out)["model"]["preprocessing"]["input_size"] == [3, 24, 24]


def test_output_that_holds_another_run(network, trees, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "args.yaml").write_text("networks: [sm_v2]\n")
    said = refusal("evaluate", network, "--data", trees, "--output", "out")
    assert said == "leannet: cannot write to out: a run of another kind lies in it. Choose another --output."
    assert (tmp_path / "out" / "args.yaml").read_text() == "networks: [sm_v2]\n"
    said = refusal("evaluate", network, "--data", trees, "--output", network)  # nor into the model folder itself
    assert "a run of another kind lies in it" in said


def test_output_of_an_earlier_evaluation_is_replaced(network, trees, tmp_path):
    arguments = ("evaluate", network, "--data", trees, "--output", tmp_path / "out", "--split")
    assert leannet(*arguments, "train").code == 0
    assert leannet(*arguments, "test").code == 0
    assert json.loads((tmp_path / "out" / "results.json").read_text())["data"]["split"] == "test"


def test_output_that_is_a_file(network, trees, tmp_path):
    (tmp_path / "out").write_text("mine")
    said = refusal("evaluate", network, "--data", trees, "--output", "out")
    assert said.startswith("leannet: cannot write out: ")
    assert (tmp_path / "out").read_text() == "mine"
