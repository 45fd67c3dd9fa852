"""A saved network is found again: timm's folder of a configuration and weights, for every form that leannet makes."""

import json
from functools import partial

import pytest
import timm
import torch
from registered_networks import CLASSES, NETWORKS, feature_maps, with_history
from safetensors.torch import load_file
from timm.models import save_for_hf

from leannet import UserError, create_network
from leannet.models import is_model_folder

FORMS = {
    **{name: partial(timm.create_model, name) for name in NETWORKS},
    # CSE networks have weights for one size; the folder must remember which.
    "cse-64": partial(create_network, "mobilenetv2_cse", img_size=64),
    "cse-literal-48": partial(create_network, "mobilenetv2_cse_literal", img_size=48),
    "cse-64-large": partial(create_network, "mobilenetv2_cse", img_size=64, small_input=False),
    # Small forms: of leannet's networks, of timm's, of torchvision's.
    "sm_v2-small": partial(create_network, "sm_v2", img_size=32),
    "optimised-small": partial(create_network, "mobilenetv2_optimised", img_size=32),
    "bias-small": partial(create_network, "mobilenetv2_bias", small_input=True),
    "dmp-small": partial(create_network, "efficientnet_b0_dmp", img_size=32),
    "mobilenetv3-small": partial(create_network, "mobilenetv3_small_050", img_size=32),
    "resnet18-small": partial(create_network, "resnet18", small_input=True),
    "torchvision-small": partial(create_network, "torchvision/shufflenet_v2_x0_5", img_size=32),
    "ghostnet-small": partial(create_network, "ghostnet_050", img_size=32),
    "torchvision": partial(create_network, "torchvision/mobilenet_v3_small"),
    # Converted, and converted in the small form.
    "timm-converted": partial(timm.create_model, "adapted", source="mnasnet_050", expansion="duplicate"),
    "torchvision-converted": partial(
        timm.create_model,
        "adapted",
        source="torchvision/mobilenet_v2",
        expansion="duplicate",
        projection="max",
        small_input=True,
    ),
    "torchvision-mnasnet": partial(create_network, "torchvision/mnasnet0_5"),
    "gray": partial(create_network, "sm_v2", in_chans=1),
    "gray-adapted": partial(create_network, "lcnet_035", in_chans=1, img_size=32),
    "max-pooled": partial(create_network, "resnet20_cifar", global_pool="max"),
}


def forms(names, broken, reason):
    """Walk the forms; the broken ones are known to fail."""
    fails = pytest.mark.xfail(strict=True, reason=reason)
    return pytest.mark.parametrize(
        "saved", [pytest.param(name, marks=fails if name in broken else ()) for name in names], indirect=True
    )


def batch_for(model, small):
    channels = getattr(model, "in_chans", 3)
    size = model.pretrained_cfg["input_size"][-1]
    pixels = size if model.pretrained_cfg.get("fixed_input_size") else min(size, 32 if small else 64)
    return torch.randn(4, channels, pixels, pixels, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def saved(request, tmp_path):
    """Return a network, its batch, and the folder into which it was saved."""
    torch.manual_seed(0)
    model = FORMS[request.param](num_classes=CLASSES)
    batch = batch_for(model, request.param.endswith("small"))
    with_history(model, batch)
    save_for_hf(model, tmp_path / "folder", safe_serialization=True)
    return model, batch, tmp_path / "folder"


@forms(FORMS, ["torchvision-mnasnet"], "torchvision's MNASNet wants the version that safetensors does not keep")
def test_a_saved_network_is_the_same_network(saved):
    model, batch, folder = saved
    torch.manual_seed(1)
    loaded = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    with torch.no_grad():
        assert torch.equal(loaded(batch), model(batch))
    assert type(loaded) is type(model)
    assert loaded.num_classes == CLASSES
    assert tuple(loaded.pretrained_cfg["input_size"][1:]) == tuple(model.pretrained_cfg["input_size"][1:])
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert [m.stride for m in loaded.modules() if hasattr(m, "stride")] == [
        m.stride for m in model.modules() if hasattr(m, "stride")
    ]


SEVERAL = ["sm_v2", "mobilenetv2_cse", "cse-64", "dmp-small", "torchvision-small", "torchvision-converted"]


@forms(SEVERAL, [], "")
def test_it_can_be_saved_a_second_time(saved, tmp_path):
    model, batch, folder = saved
    first = timm.create_model(f"local-dir:{folder}", pretrained=True)
    save_for_hf(first, tmp_path / "again", safe_serialization=True)
    second = timm.create_model(f"local-dir:{tmp_path / 'again'}", pretrained=True).eval()
    with torch.no_grad():
        assert torch.equal(second(batch), model(batch))
    configurations = [json.loads((path / "config.json").read_text()) for path in (folder, tmp_path / "again")]
    assert configurations[0] == configurations[1]


@pytest.mark.parametrize("saved", SEVERAL, indirect=True)
def test_another_number_of_classes_keeps_all_weights_but_the_classifier(saved):
    model, _, folder = saved
    loaded = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=3)
    classifier = model.pretrained_cfg["classifier"]
    kept, before = loaded.state_dict(), model.state_dict()
    assert kept.keys() == before.keys()
    for key, tensor in kept.items():
        if key.startswith(classifier):
            assert tensor.shape[0] == 3
        else:
            assert torch.equal(tensor, before[key]), key


@pytest.mark.parametrize("num_classes", [None, 7])
def test_weights_of_another_network_are_refused_whatever_the_classes(tmp_path, num_classes):
    for name in ("resnet20_cifar", "resnet44_cifar"):
        save_for_hf(create_network(name, num_classes=3), str(tmp_path / name), safe_serialization=True)
    mixed = tmp_path / "resnet20_cifar"
    (mixed / "config.json").write_text((tmp_path / "resnet44_cifar" / "config.json").read_text())
    with pytest.raises(UserError, match=r"its weights are not those of the network in config\.json"):
        create_network(str(mixed), num_classes=num_classes)


@pytest.mark.parametrize("saved", SEVERAL, indirect=True)
def test_create_network_takes_the_folder(saved):
    model, batch, folder = saved
    assert is_model_folder(str(folder))
    loaded = create_network(str(folder)).eval()
    with torch.no_grad():
        assert torch.equal(loaded(batch), model(batch))
    assert create_network(str(folder), num_classes=3).num_classes == 3


@pytest.mark.parametrize("saved", ["cse-64"], indirect=True)
def test_the_size_of_a_gate_is_in_the_configuration(saved):
    _, _, folder = saved
    configuration = json.loads((folder / "config.json").read_text())
    assert configuration["architecture"] == "mobilenetv2_cse"
    assert configuration["pretrained_cfg"]["input_size"] == [3, 64, 64]
    loaded = timm.create_model(f"local-dir:{folder}", pretrained=True)
    with pytest.raises(UserError, match="64 x 64"):
        loaded(torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize("saved", ["sm_v2", "mobilenetv2_cse", "dmp-small"], indirect=True)
def test_weights_for_colours_are_adapted_to_gray(saved):
    model, _, folder = saved
    loaded = timm.create_model(f"local-dir:{folder}", pretrained=True, in_chans=1)
    first = model.pretrained_cfg["first_conv"] + ".weight"
    weights = load_file(folder / "model.safetensors")
    torch.testing.assert_close(loaded.state_dict()[first], weights[first].sum(dim=1, keepdim=True))


@forms(
    ["sm_v2", "mobilenetv2_cse", "dmp-small", "resnet18-small", "ghostnet-small"],
    ["ghostnet-small"],
    "the weights are loaded after timm has renamed the layers of some networks for features_only",
)
def test_a_saved_network_gives_its_features(saved):
    model, batch, folder = saved
    torch.manual_seed(1)
    backbone = timm.create_model(f"local-dir:{folder}", pretrained=True, features_only=True).eval()
    with torch.no_grad():
        features = backbone(batch)
    maps = feature_maps(model, batch)
    assert len(features) == len(maps)
    for feature_map, other in zip(features, maps, strict=True):
        torch.testing.assert_close(feature_map, other)
