"""Model folders of strangers: what a few bytes of JSON declare costs nothing, and names nothing outside the folder."""

import json
import shutil

import pytest
import torch
from torch import nn

from leannet import UserError, create_network
from leannet.early_exit import read_policy
from leannet.models.parts import model_limits
from leannet.training import load_saved_network, save_model_folder
from leannet_runtime import Preprocessing

NAMES = ("../../../etc/passwd", "/tmp/x", "c\0d")


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    save_model_folder(create_network("resnet20_cifar", num_classes=3), folder, NAMES, Preprocessing(32))
    return folder


@pytest.fixture
def folder(sound, tmp_path):
    shutil.copytree(sound, tmp_path / "model")
    return tmp_path / "model"


def change(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    for name, value in changes.items():
        config[name] = {**config[name], **value} if name in ("model_args", "pretrained_cfg") else value
    (folder / "config.json").write_text(json.dumps(config))


HOSTILE = {
    "classes": ({"num_classes": 10**12}, "num_classes 1000000000000 is no number"),
    "classes of the layer": ({"model_args": {"num_classes": 10**12}}, "num_classes 1000000000000 is no number"),
    "classes that are not one": ({"num_classes": "three"}, "num_classes 'three' is no number"),
    "fewer than none": ({"num_classes": -1}, "num_classes -1 is no number"),
    "many classes": ({"model_args": {"num_classes": 2**20 - 1}}, "far larger than the .* numbers in model.safetensors"),
    "a path": ({"architecture": "../../etc/passwd"}, "there is no network '../../etc/passwd'"),
    "the Hub": ({"architecture": "hf-hub:timm/resnet18"}, "there is no network 'hf-hub:timm/resnet18'"),
    "another folder": ({"architecture": "local-dir:/tmp"}, "there is no network 'local-dir:/tmp'"),
    "source on the Hub": (
        {"architecture": "adapted", "model_args": {"source": "hf-hub:timm/resnet18"}},
        "there is no network 'hf-hub:timm/resnet18'",
    ),
    "source of a source": (
        {"architecture": "with_exits", "model_args": {"source": "adapted", "source_args": {"source": "hf-hub:a/b"}}},
        "there is no network 'hf-hub:a/b'",
    ),
    "another file": (
        {"architecture": "adapted", "model_args": {"source": "resnet18", "checkpoint_path": "/etc/passwd"}},
        "model_args has checkpoint_path, which would read something else",
    ),
    "another file within": (
        {"architecture": "with_exits", "model_args": {"source": "resnet18", "source_args": {"checkpoint_path": "x"}}},
        "model_args has checkpoint_path, which would read something else",
    ),
    "wide layers": (
        {"architecture": "resnet50", "model_args": {"base_width": 10**9}},
        "model_args has 1000000000 for base_width, beyond 65,536",
    ),
    "many layers": (
        {"architecture": "resnet50", "model_args": {"layers": [60_000, 60_000, 60_000, 60_000], "num_classes": 3}},
        "far larger than|more than 50,000 modules",
    ),
    "a large image": (
        {"pretrained_cfg": {"input_size": [3, 5000, 5000]}},
        "input_size .* is beyond 4096 pixels a side",
    ),
    "an image without end": ({"pretrained_cfg": {"input_size": [3, 1e999, 1e999]}}, "pretrained_cfg is not timm's"),
    "a large image of the network": ({"model_args": {"img_size": 5000}}, "img_size 5000 is beyond 4096"),
    "a crop of nothing": ({"pretrained_cfg": {"crop_pct": 1e-9}}, "more than the limit of 8,192"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_folders_are_refused(folder, name):
    changes, said = HOSTILE[name]
    change(folder, **changes)
    with pytest.raises(UserError, match=said) as error:
        load_saved_network(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"architecture": "x", "a": ' + b"[" * 100_000])
def test_json_without_end(folder, content):
    (folder / "config.json").write_bytes(content)
    with pytest.raises(UserError, match="too deep within each other"):
        load_saved_network(folder)


def test_a_large_description_is_not_read(folder):
    with (folder / "config.json").open("ab") as file:
        file.truncate(2**24 + 1)
    with pytest.raises(UserError, match="more than 16,777,216 bytes"):
        load_saved_network(folder)


@pytest.mark.parametrize("length", [2**63 - 1, 2**40, 0])
def test_a_head_of_exabytes_is_refused(folder, length):
    (folder / "model.safetensors").write_bytes(length.to_bytes(8, "little") + b"{}")
    with pytest.raises(UserError, match=r"cannot read .*model\.safetensors"):
        load_saved_network(folder)


def test_other_files_of_weights_are_not_taken(folder):
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"it has no model\.safetensors"):
        create_network(str(folder))


def test_names_of_classes_are_text_and_no_paths(folder, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    network = load_saved_network(folder)
    assert network.class_names == NAMES
    assert sorted(tmp_path.rglob("*")) == before


def test_a_layer_is_refused_before_its_memory_is_filled(folder):
    """Torch asks the system for the room of a layer at once, and takes it when it is filled."""
    with pytest.raises(UserError, match="far larger"), model_limits.no_larger_than_weights(folder):
        nn.Linear(2**16, 2**12)  # 1 GiB
    with model_limits.no_larger_than_weights(folder):
        assert nn.Linear(2**8, 2**8).weight.shape == (256, 256)


def test_many_modules_without_weights(folder, monkeypatch):
    monkeypatch.setattr(model_limits, "MOST_MODULES", 10)
    with pytest.raises(UserError, match="more than 10 modules"), model_limits.no_larger_than_weights(folder):
        nn.Sequential(*(nn.Identity() for _ in range(11)))


def test_the_budget_ends_with_the_network(folder, monkeypatch):
    load_saved_network(folder)
    monkeypatch.setattr(model_limits, "SPARE_PARAMETERS", 0)
    monkeypatch.setattr(model_limits, "SPARE_FACTOR", 0)
    with pytest.raises(UserError, match="far larger"):
        load_saved_network(folder)
    assert nn.Linear(2, 2).weight.shape == (2, 2)


POLICIES = (
    None,
    [],
    "x",
    {"thresholds": [1e999]},
    {"thresholds": 5, "rule": "confidence"},
    {"thresholds": [], "rule": "patience", "temperatures": [], "patience": 1e999, "ensemble": False},
    {"thresholds": [10**400, 0.5], "rule": "confidence", "temperatures": [], "patience": 2, "ensemble": False},
)


@pytest.mark.parametrize("policy", POLICIES)
def test_policies_of_strangers(folder, policy):
    change(folder, early_exit=policy)
    with pytest.raises(UserError):
        read_policy(folder, 3)
