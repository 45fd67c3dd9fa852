"""`leannet profile`: names, sizes, published figures, and what it refuses."""

import json

import pytest
import timm
import torchvision
from command_line import TREES, leannet, refusal
from test_models_command import count_by_hand

from leannet import create_network
from leannet.training import save_model_folder
from leannet_runtime import Preprocessing


def profile(*arguments):
    answer = leannet("profile", *arguments, "--json")
    assert (answer.code, answer.err) == (0, "")
    return json.loads(answer.out)


@pytest.fixture(scope="module")
def cse_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "cse"
    model = create_network("mobilenetv2_cse", num_classes=3, img_size=16)
    save_model_folder(model, folder, TREES, Preprocessing(16, crop_pct=1.0))
    return folder


def test_networks_of_timm_and_torchvision():
    names = ["lcnet_050", "torchvision/shufflenet_v2_x0_5"]
    rows = profile(*names, "--num-classes", 7)
    models = [
        timm.create_model(names[0], num_classes=7),
        torchvision.models.shufflenet_v2_x0_5(num_classes=7),
    ]
    assert [row["name"] for row in rows] == names
    for row, model in zip(rows, models, strict=True):
        assert (row["parameters"], row["macs"]) == count_by_hand(model, 224)
        assert (row["img_size"], row["num_classes"], row["uncounted"]) == (224, 7, [])
        tensors = [*model.parameters(), *model.buffers()]
        assert row["weight_bytes"] == sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        assert row["peak_activation_bytes"] > 0
        assert "layers" not in row


def test_small_images_get_the_small_form_unless_told_otherwise():
    [small] = profile("lcnet_050", "--img-size", 32)
    [large] = profile("lcnet_050", "--img-size", 32, "--no-small-input")
    [forced] = profile("lcnet_050", "--img-size", 64, "--small-input")
    assert large["macs"] == count_by_hand(timm.create_model("lcnet_050"), 32)[1]
    assert small["macs"] > 4 * large["macs"]
    assert forced["macs"] > 3 * small["macs"]


def test_model_folder(cse_folder):
    [row] = profile(cse_folder)
    expected = count_by_hand(timm.create_model("mobilenetv2_cse", num_classes=3, img_size=16), 16)
    assert (row["img_size"], row["num_classes"]) == (16, 3)
    assert (row["parameters"], row["macs"]) == expected


def test_layers_add_up():
    [row] = profile("resnet20_cifar", "--per-layer")
    assert sum(layer["macs"] for layer in row["layers"]) == row["macs"]
    assert sum(layer["parameters"] for layer in row["layers"]) == row["parameters"]
    answer = leannet("profile", "resnet20_cifar", "--per-layer")
    printed = [line.split()[0] for line in answer.out.splitlines() if " x " in line]
    assert printed == [layer["name"] for layer in row["layers"] if len(layer["output_shape"]) == 4]
    assert "stem.conv                 Conv2d             16 x 32 x 32     432  442.4 k" in answer.out


def test_published_figures_stand_beside():
    answer = leannet("profile", "sm_v2", "--num-classes", 100)
    ours = sum(tensor.numel() for tensor in timm.create_model("sm_v2", num_classes=100).parameters())
    difference = 100 * (ours / 1.54e6 - 1)
    [said] = [line for line in answer.out.splitlines() if "params printed" in line and "Table 3" in line]
    assert said.startswith("sm_v2: params printed 1.54 M (sm_v2")
    assert said.endswith(f"ours {difference:+.2f} %")
    assert f"{ours:,}" in answer.out
    [row] = profile("sm_v2", "--num-classes", 100)
    params = [figure for figure in row["published"] if figure["quantity"] == "params"]
    assert params
    for figure in params:
        assert figure["difference_percent"] == pytest.approx(100 * (ours / figure["value"] - 1), abs=1e-3)
    # With another number of classes the printed counts mean another network.
    assert "params printed 1.54 M" not in leannet("profile", "sm_v2", "--num-classes", 7).out


def test_the_rule_of_counting_is_said():
    flowing = " ".join(leannet("profile", "lcnet_050").out.split())
    assert "MACs are the multiply-accumulates of convolutions, linear layers and matrix products" in flowing
    assert "peak activations are the bytes alive at once in a float32 forward pass of one image" in flowing


def test_size_that_gates_cannot_take():
    said = refusal("profile", "mobilenetv2_cse", "--img-size", 50)
    assert "50 x 50 pixels" in said
    assert "multiples of 8" in said
    assert said.endswith("Choose --img-size 48 or 56.")
    for size in (48, 56):
        assert leannet("profile", "mobilenetv2_cse", "--img-size", size).code == 0


def test_trained_gates_have_one_size(cse_folder):
    said = refusal("profile", cse_folder, "--img-size", 32)
    assert "16 x 16 pixels, not 32 x 32" in said
    assert "Pass --img-size 16" in said


def test_size_that_a_network_cannot_take():
    said = refusal("profile", "vit_tiny_patch16_224", "--img-size", 32)
    assert "vit_tiny_patch16_224 has no small-input form" in said
    assert "--no-small-input" in said
    said = refusal("profile", "test_vit", "--img-size", 8, "--no-small-input")
    assert said.startswith("leannet: test_vit cannot take images of 8 pixels: ")
    assert said.endswith("Choose another --img-size.")


def test_unknown_name():
    said = refusal("profile", "mobilnetv2_100")
    assert "unknown network mobilnetv2_100" in said
    assert "Did you mean mobilenetv2_100 or" in said
    assert "leannet models --all" in said


@pytest.mark.parametrize("damage", ["no JSON", "no weights"])
def test_damaged_model_folder(cse_folder, tmp_path, damage):
    broken = tmp_path / "broken"
    broken.mkdir()
    config = (cse_folder / "config.json").read_text()
    (broken / "config.json").write_text("{" if damage == "no JSON" else config)
    assert str(broken) in refusal("profile", broken)


def test_numbers_are_whole_on_a_narrow_terminal(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    assert "336,824" in leannet("profile", "resnet20_cifar").out


def test_key_press_is_answered(monkeypatch):
    def press(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("leannet.measure.profile_network", press)
    answer = leannet("profile", "lcnet_050")
    assert answer.code == 130
    assert answer.err == "leannet: interrupted\n"
