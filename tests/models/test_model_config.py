"""What is said of a folder whose configuration cannot be used, whoever reads it."""

import json

import pytest
import timm
from timm.models import save_for_hf

from leannet import UserError, create_network
from leannet.models import default_img_size, read_model_config
from leannet.training.network import label_names

REMEDY = "Give a folder that training wrote."


@pytest.fixture
def folder(tmp_path):
    save_for_hf(timm.create_model("resnet20_cifar", num_classes=3), tmp_path / "net", safe_serialization=True)
    return tmp_path / "net"


def message(folder, read=read_model_config):
    with pytest.raises(UserError) as caught:
        read(str(folder))
    return str(caught.value)


def test_what_timm_wrote_is_returned(folder):
    config = read_model_config(folder)
    assert config == json.loads((folder / "config.json").read_text())
    assert config["architecture"] == "resnet20_cifar"
    assert read_model_config(str(folder)) == config


def test_no_model_folder(folder, tmp_path):
    missing = tmp_path / "missing"
    assert message(missing) == f"{missing} is no model folder: no such folder. {REMEDY}"
    missing.write_text("")
    assert message(missing) == f"{missing} is no model folder: it is a file. {REMEDY}"
    (tmp_path / "run").mkdir()
    assert message(tmp_path / "run") == f"{tmp_path / 'run'} is no model folder: it has no config.json. {REMEDY}"
    for name in ("last", "best"):  # the best is what is meant, if both are there
        (folder if name == "last" else tmp_path / "run/last").rename(tmp_path / "run" / name)
        assert message(tmp_path / "run").endswith(f"it has no config.json. Give {tmp_path / 'run' / name}.")


@pytest.mark.parametrize("read", [read_model_config, default_img_size, label_names, create_network])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "cannot read {}: Expecting property name"),
        (b"\xff{}", "cannot read {}: 'utf-8' codec"),
        (b"[]", "cannot use {}: it names no architecture."),
        (b'{"architecture": 7}', "cannot use {}: it names no architecture."),
    ],
)
def test_every_reader_says_the_same(folder, read, content, said):
    (folder / "config.json").write_bytes(content)
    found = message(folder, read)
    assert found.startswith(said.format(folder / "config.json"))
    assert found.endswith(REMEDY)


@pytest.mark.parametrize("described", [None, {}, {"input_size": None}, {"input_size": []}, {"input_size": ["a"]}])
def test_size_that_is_not_there(folder, described):
    (folder / "config.json").write_text(json.dumps({"architecture": "resnet20_cifar", "pretrained_cfg": described}))
    said = f"cannot use {folder / 'config.json'}: its pretrained_cfg has no input_size. {REMEDY}"
    assert message(folder, default_img_size) == said
