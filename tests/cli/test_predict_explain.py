"""``leannet predict --explain``: where a network saw its answer."""

import numpy as np
import pytest
import timm
import torch
from command_line import leannet, refusal
from PIL import Image
from torch import nn

from leannet import create_network
from leannet.deploy.explanation import Explainer
from leannet.deploy.predictor import TorchPredictor
from leannet.early_exit import ExitPolicy, attach_exits, write_policy
from leannet.training import load_saved_network, save_model_folder
from leannet_runtime import Preprocessing

CLASSES = ("red", "green")


def save(folder, model, size):
    save_model_folder(model, folder, CLASSES, Preprocessing(size, crop_pct=1.0, mean=(0, 0, 0), std=(1, 1, 1)))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    model = create_network("resnet20_cifar", num_classes=2, img_size=32)
    nn.init.normal_(model.get_classifier().weight)
    return save(tmp_path_factory.mktemp("explain") / "folder", model, 32)


@pytest.mark.parametrize("label", [0, 1])
def test_the_mean_of_the_map_and_the_bias_are_the_logit(folder, label):
    predictor = TorchPredictor(load_saved_network(folder))
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    found = Explainer(predictor, "folder").activation_map(pixels, label)
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    with torch.inference_mode():
        logits = model(torch.from_numpy(pixels / np.float32(255)).permute(2, 0, 1)[None])
    assert found.shape == (8, 8)
    assert found.mean() + model.get_classifier().bias[label].item() == pytest.approx(logits[0, label].item(), abs=1e-4)


def test_pictures_are_red_where_the_class_is(folder, tmp_path, monkeypatch):
    """The features are made to be the colours themselves, so that it is known where each class is."""
    for corner, name in (((0, 0), "left"), ((20, 20), "right")):
        image = Image.new("RGB", (32, 32), (60, 60, 60))
        image.paste((255, 60, 60), (*corner, corner[0] + 12, corner[1] + 12))
        image.save(tmp_path / f"{name}.png")
    predictor = TorchPredictor(load_saved_network(folder))
    explainer = Explainer(predictor, "folder")
    with torch.no_grad():
        explainer.classifier.weight.zero_()
        explainer.classifier.weight[0, :3] = torch.tensor([1.0, -1.0, 0.0])  # what is redder than green
        explainer.classifier.weight[1, :3] = torch.tensor([-1.0, 1.0, 0.0])

    def features(images):
        return nn.functional.pad(nn.functional.avg_pool2d(images, 4), (0, 0, 0, 0, 0, 61))

    monkeypatch.setattr(explainer.model, "forward_features", features)
    for name, hot, cold in (("left", (5, 5), (26, 26)), ("right", (26, 26), (5, 5))):
        picture = explainer.overlay(str(tmp_path / f"{name}.png"), "red")
        assert picture.size == (224, 224)
        red, green, _ = picture.getpixel((hot[0] * 7, hot[1] * 7))
        assert red - green > 100
        red, green, blue = picture.getpixel((cold[0] * 7, cold[1] * 7))
        assert red == green == blue  # as grey as it was
    nothing = np.asarray(explainer.overlay(str(tmp_path / "left.png"), "green"))
    assert (nothing == nothing[..., :1]).all()


def test_the_command_writes_a_picture_for_each_answer(folder, tmp_path):
    for name in ("b", "a"):
        Image.new("RGB", (50, 40), (200, 30, 90)).save(tmp_path / f"{name}.png")
    found = leannet("predict", folder, "b.png", "gone.png", "a.png", "--explain", "maps")
    assert found.code == 1
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == ["0001-b.png", "0003-a.png"]
    assert Image.open(tmp_path / "maps" / "0001-b.png").size == (224, 224)


def test_networks_that_end_otherwise_are_refused(folder, tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    torch.manual_seed(0)
    # It pools, and then comes another convolution; or the maximum is pooled.
    for name, options in (("mobilenetv3_small_050", {}), ("resnet10t", {"global_pool": "max"})):
        save(tmp_path / name, timm.create_model(name, num_classes=2, **options), 64)
        assert f"--explain with {name}: class activation maps need" in refusal(
            "predict", name, "a.png", "--explain", "m"
        )
    exits = attach_exits(create_network("resnet20_cifar", num_classes=2, img_size=32), [0], img_size=32)
    write_policy(save(tmp_path / "exits", exits, 32), ExitPolicy((0.5,)), {})
    assert "its images leave by several exits" in refusal("predict", "exits", "a.png", "--explain", "m")
    (tmp_path / "model.onnx").write_bytes(b"")
    assert "the file is empty" in refusal("predict", "model.onnx", "a.png", "--explain", "m")


def test_exported_files_are_refused(tmp_path):
    from exported_files import write_model

    write_model(tmp_path / "model.onnx")
    said = refusal("predict", "model.onnx", "a.png", "--explain", "maps")
    assert "--explain with model.onnx: an exported file does not show its last feature map" in said
    assert not (tmp_path / "maps").exists()
