"""Published weights in adapted networks: the layers that stay have the source's. Nothing is downloaded here."""

import pytest
import timm
import torch
import torchvision
from registered_networks import with_history
from safetensors.torch import save_file
from timm.models import save_for_hf
from torchvision.models import WeightsEnum

from leannet import create_network


@pytest.fixture(scope="module")
def source():
    torch.manual_seed(0)
    return with_history(timm.create_model("efficientnet_b0"), torch.randn(4, 3, 64, 64))


@pytest.fixture(scope="module")
def file(source, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "efficientnet_b0.safetensors"
    save_file(source.state_dict(), path)
    return str(path)


@pytest.mark.parametrize("name", ["efficientnet_b0_dmp", "efficientnet_b0_maxpool", "efficientnet_b0_duplicate"])
def test_layers_that_stay_have_the_weights_of_efficientnet(name, source, file):
    torch.manual_seed(1)
    model = timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"file": file})
    before, after = source.state_dict(), model.state_dict()
    assert len(after) > 200
    assert [key for key, tensor in after.items() if not torch.equal(tensor, before[key])] == []
    assert model.pretrained_cfg["architecture"] == name
    assert not model.pretrained_cfg.get("file")  # its weights are no longer those of the file


def test_a_new_classifier_is_the_only_layer_that_differs(source, file):
    torch.manual_seed(1)
    model = timm.create_model(
        "efficientnet_b0_dmp", pretrained=True, pretrained_cfg_overlay={"file": file}, num_classes=5
    )
    before, after = source.state_dict(), model.state_dict()
    differ = [key for key, tensor in after.items() if not torch.equal(tensor, before[key])]
    assert differ == ["classifier.weight", "classifier.bias"]
    assert model.classifier.out_features == 5


def test_the_small_form_takes_the_same_weights(source, file):
    model = create_network(
        "efficientnet_b0_dmp", pretrained=True, pretrained_cfg_overlay={"file": file}, img_size=32, num_classes=5
    )
    assert torch.equal(model.conv_stem.weight, source.conv_stem.weight)
    assert model.conv_stem.stride == (1, 1)


def test_gray_images_take_the_sum_over_the_colours(source, file):
    model = timm.create_model("efficientnet_b0_dmp", pretrained=True, pretrained_cfg_overlay={"file": file}, in_chans=1)
    torch.testing.assert_close(model.conv_stem.weight, source.conv_stem.weight.sum(dim=1, keepdim=True))


def test_a_tag_chooses_the_weights_of_the_source(source, monkeypatch):
    asked = []

    def load(model, pretrained_cfg, **_):
        asked.append((pretrained_cfg["architecture"], pretrained_cfg["tag"]))
        model.load_state_dict(source.state_dict())

    monkeypatch.setattr("timm.models._builder.load_pretrained", load)
    model = timm.create_model("efficientnet_b0_dmp.ra_in1k", pretrained=True)
    assert asked == [("efficientnet_b0", "ra_in1k")]
    assert torch.equal(model.conv_stem.weight, source.conv_stem.weight)
    assert model.pretrained_cfg["architecture"] == "efficientnet_b0_dmp"


def test_weights_of_the_adapted_network_itself_are_loaded_as_they_are(tmp_path):
    torch.manual_seed(0)
    trained = timm.create_model("efficientnet_b0_dmp", num_classes=5)
    save_file(trained.state_dict(), tmp_path / "own.safetensors")
    own = {**trained.pretrained_cfg, "file": str(tmp_path / "own.safetensors"), "num_classes": 5}
    model = timm.create_model("efficientnet_b0_dmp", pretrained=True, pretrained_cfg=own, num_classes=5)
    assert all(torch.equal(tensor, trained.state_dict()[key]) for key, tensor in model.state_dict().items())


@pytest.fixture
def torchvision_weights(monkeypatch):
    """Let torchvision find its weights here; the fixture is what it finds, by the class of the weights."""
    found = {}
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda self, *_, **__: found[type(self).__name__])
    return found


@pytest.mark.parametrize("size", [32, 224])
def test_torchvision_weights_keep_all_but_the_classifier(size, torchvision_weights):
    torch.manual_seed(0)
    published = torchvision.models.mobilenet_v3_small().state_dict()
    torchvision_weights["MobileNet_V3_Small_Weights"] = published
    model = create_network("torchvision/mobilenet_v3_small", pretrained=True, num_classes=5, img_size=size)
    differ = [key for key, tensor in model.state_dict().items() if not torch.equal(tensor, published[key])]
    assert differ == ["classifier.3.weight", "classifier.3.bias"]
    assert model(torch.zeros(2, 3, 64, 64)).shape == (2, 5)
    whole = create_network("torchvision/mobilenet_v3_small", pretrained=True)
    assert all(torch.equal(tensor, published[key]) for key, tensor in whole.state_dict().items())


@pytest.mark.slow
def test_inception_has_one_form_with_and_without_published_weights(torchvision_weights, tmp_path):
    torchvision_weights["Inception_V3_Weights"] = torchvision.models.inception_v3(init_weights=False).state_dict()
    model = create_network("torchvision/inception_v3", pretrained=True, num_classes=5)
    assert isinstance(model.train()(torch.randn(2, 3, 299, 299)), torch.Tensor)
    save_for_hf(model, tmp_path, safe_serialization=True)
    timm.create_model(f"local-dir:{tmp_path}", pretrained=True)
