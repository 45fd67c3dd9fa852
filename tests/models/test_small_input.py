"""The small-input form: a quarter of the stride, the same weights, for networks of every library."""

import re

import pytest
import timm
import torch
from registered_networks import NETWORKS, has_fixed_size
from timm.models import get_pretrained_cfg
from torch import nn

from leannet import UserError, create_network
from leannet.models import make_small_input

LARGE = [name for name in NETWORKS if not has_fixed_size(name) and get_pretrained_cfg(name).input_size[-1] >= 64]
# Stems of every kind: strided convolutions, a max-pooling, three convolutions, padding as TensorFlow does it, and an
# average pooling in the shortcuts.
OTHERS = [
    *("mobilenetv2_050", "mobilenetv3_small_050", "tf_mobilenetv3_small_minimal_100", "lcnet_035", "mnasnet_050"),
    *("resnet18", "resnet18d", "regnetx_002", "densenet121", "ghostnet_050", "mobileone_s0"),
]
TORCHVISION = ["torchvision/resnet18", "torchvision/mobilenet_v2", "torchvision/shufflenet_v2_x0_5"]


def strides(model):
    return {name: module.stride for name, module in model.named_modules() if hasattr(module, "stride")}


def without_strides(model):
    return re.sub(r"stride=(\(\d, \d\)|\d)", "", repr(model))


def maps(model, side):
    """The sides of the feature maps, by the module that `feature_info` names."""
    found = {}
    for feature in model.feature_info:
        name = feature["module"]
        model.get_submodule(name).register_forward_hook(lambda _, __, out, name=name: found.__setitem__(name, out))
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, side, side))
    return [found[feature["module"]] for feature in model.feature_info]


def last_map(model, side):
    """The side of the last map that a convolution of more than one position answers."""
    seen = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _, __, out: seen.append(out.shape[-1]))
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, side, side))
    return min(side for side in seen if side > 1)


@pytest.mark.parametrize("name", [*LARGE, *OTHERS])
def test_reductions_are_true_and_end_at_eight(name):
    model = create_network(name, img_size=32)
    for feature, feature_map in zip(model.feature_info, maps(model, 32), strict=True):
        assert feature_map.shape[1] == feature["num_chs"]
        assert feature_map.shape[-1] == 32 // feature["reduction"]
    assert model.feature_info[-1]["reduction"] == 8


@pytest.mark.parametrize("name", [*LARGE, *OTHERS, *TORCHVISION])
def test_the_last_map_of_a_small_image_is_that_of_a_large_one(name):
    # Of 32 pixels 4 are left at stride 8, as of 128 at stride 32.
    assert last_map(create_network(name, img_size=32), 32) == 4


@pytest.mark.parametrize("name", [*OTHERS, *TORCHVISION])
def test_weights_and_everything_but_strides_stay(name):
    torch.manual_seed(0)
    model = create_network(name).train()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    old_strides, text = strides(model), without_strides(model)
    make_small_input(model)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert before.keys() == model.state_dict().keys()
    assert all(module.training for module in model.modules())
    changed = [key for key, stride in strides(model).items() if stride != old_strides[key]]
    assert 2 <= len(changed) <= 12
    assert without_strides(model) == text
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_weights_of_a_large_network_load_into_the_small_form():
    large, small = create_network("sm_v2"), create_network("sm_v2", img_size=32)
    small.load_state_dict(large.state_dict())


def test_resnet_gives_up_the_strides_of_its_stem_and_its_max_pooling():
    model, before = create_network("resnet18", img_size=32), strides(timm.create_model("resnet18"))
    changed = {key for key, stride in strides(model).items() if stride != before[key]}
    assert changed == {"conv1", "maxpool"}
    assert model.maxpool.stride == 1
    assert model.conv1.stride == (1, 1)


@pytest.mark.parametrize(
    ("name", "arguments", "small"),
    [
        ("sm_v2", {"img_size": 63}, True),
        ("sm_v2", {"img_size": 64}, False),
        ("sm_v2", {}, False),
        ("sm_v2", {"small_input": True}, True),
        ("sm_v2", {"img_size": 32, "small_input": False}, False),
        ("mobilenetv2_optimised", {"img_size": 32}, True),
        ("mobilenetv2_optimised", {"img_size": 224, "small_input": True}, True),
        ("resnet18", {"img_size": 32}, True),
        ("resnet18", {"img_size": 32, "small_input": False}, False),
        ("torchvision/resnet18", {"img_size": 64}, False),
        ("torchvision/resnet18", {"img_size": 48}, True),
    ],
)
def test_the_form_follows_the_size_unless_it_is_said(name, arguments, small):
    assert last_map(create_network(name, **arguments), 128) == (16 if small else 4)


def test_feature_extractors_are_made_small_too():
    model = create_network("resnet18", img_size=32, features_only=True)
    assert model.feature_info.reduction() == [1, 1, 2, 4, 8]
    assert [x.shape[-1] for x in model(torch.zeros(1, 3, 32, 32))] == [32, 32, 16, 8, 4]


@pytest.mark.parametrize(
    "name", ["convnext_atto", "vit_tiny_patch16_224", "torchvision/convnext_tiny", "poolformer_s12"]
)
def test_patch_embeddings_have_no_small_form(name):
    with pytest.raises(UserError) as error:
        create_network(name, img_size=32)
    assert str(error.value) == (
        f"{name} has no small-input form: its first two reductions are not layers of stride 2. "
        "Choose --img-size 64 or more, or pass --no-small-input."
    )
    with pytest.raises(UserError, match="the network has no small-input form"):
        make_small_input(create_network(name))


def test_a_refused_network_is_left_as_it_was():
    model = create_network("convnext_atto").train()
    before = strides(model)
    with pytest.raises(UserError):
        make_small_input(model, "convnext_atto")
    assert strides(model) == before
    assert all(module.training for module in model.modules())
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("name", ["dla34", "nf_regnet_b0", "cs3darknet_focus_s"])
def test_kernels_of_even_size_are_refused_or_keep_their_maps(name):
    try:
        model = create_network(name, img_size=32)
    except UserError:
        return
    for feature, feature_map in zip(model.feature_info, maps(model, 32), strict=True):
        assert feature_map.shape[-1] == 32 // feature["reduction"]


def test_a_network_of_one_size_is_refused_whatever_it_raises():
    with pytest.raises(UserError):
        create_network("mvitv2_tiny", img_size=32)
