"""The folder that training writes: read back by timm alone, and whole whatever happens."""

import json
import subprocess
import sys

import pytest
import timm
import torch
from safetensors.torch import load_file

from leannet import UserError, create_network
from leannet.training import save_model_folder
from leannet_runtime import Preprocessing

NAMES = ("ash", "birch", "Ceder ü")
FORMS = {
    "own": ("sm_v2", 64),
    "own-small": ("sm_v2", 32),
    "optimised-small": ("mobilenetv2_optimised", 32),
    "adapted-timm": ("test_efficientnet", 32),
    "adapted-torchvision": ("torchvision/shufflenet_v2_x0_5", 32),
    "plain-timm": ("test_byobnet", 64),
    "gates": ("mobilenetv2_cse", 16),
}
READ_ELSEWHERE = """
import sys, timm, torch, leannet
for folder in sys.argv[1:]:
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    batch = torch.load(folder + "/batch.pt", weights_only=True)
    with torch.no_grad():
        same = torch.equal(model(batch), torch.load(folder + "/logits.pt", weights_only=True))
    print(folder, same)
"""


def trained(form):
    """Return a network with running statistics of its own, and its preprocessing."""
    name, size = FORMS[form]
    torch.manual_seed(0)
    model = create_network(name, num_classes=3, img_size=size)
    with torch.no_grad():
        model(torch.randn(4, 3, size, size))
    return model.eval(), Preprocessing(size, crop_pct=0.9, interpolation="bilinear", mean=(0.1, 0.2, 0.3))


def answers(model, size):
    batch = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return batch, model(batch)


@pytest.mark.parametrize("form", FORMS)
def test_it_is_read_back(form, tmp_path):
    model, preprocessing = trained(form)
    save_model_folder(model, tmp_path / "a" / "b", NAMES, preprocessing)
    batch, logits = answers(model, preprocessing.img_size)
    loaded = timm.create_model(f"local-dir:{tmp_path / 'a' / 'b'}", pretrained=True).eval()
    with torch.no_grad():
        assert torch.equal(loaded(batch), logits)
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == ["config.json", "model.safetensors"]


def test_another_process_reads_them(tmp_path):
    folders = []
    for form in FORMS:
        model, preprocessing = trained(form)
        save_model_folder(model, tmp_path / form, NAMES, preprocessing)
        batch, logits = answers(model, preprocessing.img_size)
        torch.save(batch, tmp_path / form / "batch.pt")
        torch.save(logits, tmp_path / form / "logits.pt")
        folders.append(str(tmp_path / form))
    command = [sys.executable, "-c", READ_ELSEWHERE, *folders]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{folder} True" for folder in folders]


@pytest.mark.parametrize("form", ["own-small", "optimised-small", "adapted-torchvision", "gates"])
def test_configuration(form, tmp_path):
    model, preprocessing = trained(form)
    save_model_folder(model, tmp_path, NAMES, preprocessing)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert config["label_names"] == list(NAMES)
    assert config["num_classes"] == 3
    assert config["architecture"] == ("adapted" if form.startswith("adapted") else FORMS[form][0])
    described = config["pretrained_cfg"]
    size = FORMS[form][1]
    assert described["input_size"] == [3, size, size]
    assert (described["crop_pct"], described["interpolation"], described["mean"]) == (0.9, "bilinear", [0.1, 0.2, 0.3])
    assert described["num_classes"] == 3
    assert Preprocessing.from_pretrained_cfg(described) == preprocessing


@pytest.mark.parametrize(
    "form",
    [
        "own-small",
        "optimised-small",
        "adapted-torchvision",
        "gates",
    ],
)
def test_tools_of_timm_find_the_preprocessing(form, tmp_path):
    model, preprocessing = trained(form)
    save_model_folder(model, tmp_path, NAMES, preprocessing)
    resolved = timm.data.resolve_model_data_config(timm.create_model(f"local-dir:{tmp_path}", pretrained=True))
    assert tuple(resolved["input_size"]) == (3, FORMS[form][1], FORMS[form][1])
    assert (resolved["crop_pct"], resolved["interpolation"]) == (0.9, "bilinear")
    assert tuple(resolved["mean"]) == (0.1, 0.2, 0.3)


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_interrupted_writing_leaves_the_earlier_network(failure, tmp_path, monkeypatch):
    first, preprocessing = trained("own-small")
    save_model_folder(first, tmp_path, NAMES, preprocessing)
    batch, logits = answers(first, preprocessing.img_size)
    second = create_network("sm_v2", num_classes=3, img_size=32)

    def half(weights, path):
        path.write_bytes(b"half of the weights")
        raise failure

    monkeypatch.setattr("leannet.training.model_folder.save_file", half)
    with pytest.raises((UserError, KeyboardInterrupt)) as caught:
        save_model_folder(second, tmp_path, NAMES, preprocessing)
    if isinstance(failure, OSError):
        assert str(caught.value).startswith(f"cannot write {tmp_path / 'model.safetensors'}: No space left")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    loaded = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    with torch.no_grad():
        assert torch.equal(loaded(batch), logits)


def test_weights_are_those_of_the_network(tmp_path):
    model, preprocessing = trained("plain-timm")
    save_model_folder(model, tmp_path, NAMES, preprocessing)
    saved = load_file(tmp_path / "model.safetensors")
    assert saved.keys() == model.state_dict().keys()
    assert all(tensor.equal(model.state_dict()[name]) for name, tensor in saved.items())
