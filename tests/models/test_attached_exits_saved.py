"""A network with attached exits is found again from its folder, whatever network they were attached to."""

import json
from functools import partial

import pytest
import timm
import torch
from safetensors.torch import load_file
from timm.models import save_for_hf

from leannet import create_network
from leannet.models import AttachedExits, attach_exits
from leannet.training import save_model_folder
from leannet_runtime import Preprocessing

CLASSES = 5
FORMS = {
    "resnet10t": partial(timm.create_model, "resnet10t"),
    "gray": partial(timm.create_model, "resnet10t", in_chans=1),
    "max-pooled": partial(timm.create_model, "resnet10t", global_pool="max"),
    "convnext": partial(timm.create_model, "test_convnext"),
    "sm_v2-small": partial(create_network, "sm_v2", img_size=32),
    "dmp-small": partial(create_network, "efficientnet_b0_dmp", img_size=32),
    "cse-32": partial(create_network, "mobilenetv2_cse", img_size=32),
    "adapted": partial(create_network, "mobilenetv3_small_050", img_size=32),
    "adapted-gray": partial(create_network, "lcnet_035", img_size=32, in_chans=1),
    "converted": partial(timm.create_model, "adapted", source="mnasnet_050", expansion="duplicate", projection="max"),
}


def images_for(model):
    # Of 32 pixels one position would be left, of which all poolings are the same; gates have one size.
    size = 32 if getattr(model, "backbone", model).pretrained_cfg.get("fixed_input_size") else 64
    return torch.randn(4, model.in_chans, size, size, generator=torch.Generator().manual_seed(1))


def with_exits(form, head="simple"):
    torch.manual_seed(0)
    model = attach_exits(FORMS[form](num_classes=CLASSES), [1, 2], head, img_size=32)
    model.train()
    with torch.no_grad():
        model.forward_exits(images_for(model))
    return model.eval()


def same_exits(one, other):
    images = images_for(one)
    with torch.no_grad():
        pairs = list(zip(one.eval().forward_exits(images), other.eval().forward_exits(images), strict=True))
    return all(torch.equal(mine, others) for mine, others in pairs) and len(pairs) == 3


@pytest.mark.parametrize("form", FORMS)
def test_a_saved_network_has_the_same_exits(form, tmp_path):
    model = with_exits(form)
    save_for_hf(model, tmp_path / "folder", safe_serialization=True)
    torch.manual_seed(1)
    for loaded in (
        timm.create_model(f"local-dir:{tmp_path / 'folder'}", pretrained=True),
        create_network(str(tmp_path / "folder")),
    ):
        assert isinstance(loaded, AttachedExits)
        assert type(loaded.backbone) is type(model.backbone)
        assert (loaded.stages, loaded.num_classes) == (model.stages, CLASSES)
        assert same_exits(model, loaded)
    save_for_hf(loaded, tmp_path / "again", safe_serialization=True)
    first, second = (json.loads((tmp_path / name / "config.json").read_text()) for name in ("folder", "again"))
    assert first == second
    assert first["architecture"] == "with_exits"


@pytest.mark.parametrize("head", ["linear", "bottleneck", "attention"])
def test_heads_are_found_again(head, tmp_path):
    model = with_exits("resnet10t", head)
    save_model_folder(model, tmp_path, tuple("abcde"), Preprocessing(32))
    loaded = create_network(str(tmp_path))
    assert loaded.exit_head == head
    assert same_exits(model, loaded)
    # Pads and pools have no weights: that the kind is the same must be said by the folder.
    assert [type(module) for module in loaded.modules()] == [type(module) for module in model.modules()]
    assert loaded.pretrained_cfg["label_names"] == list("abcde")


@pytest.mark.parametrize("form", ["resnet10t", "cse-32", "adapted", "gray"])
def test_another_number_of_classes_keeps_all_weights_but_the_classifiers(form, tmp_path):
    save_for_hf(with_exits(form), tmp_path, safe_serialization=True)
    weights = load_file(tmp_path / "model.safetensors")
    loaded = create_network(str(tmp_path), num_classes=3)
    classifiers = tuple(loaded.pretrained_cfg["classifier"])
    assert len(classifiers) == 3
    kept = loaded.state_dict()
    assert kept.keys() == weights.keys()
    for name, tensor in kept.items():
        if name.startswith(classifiers):
            assert tensor.shape[0] == 3
        else:
            assert torch.equal(tensor, weights[name]), name
    assert [tuple(each.shape) for each in loaded.eval().forward_exits(images_for(loaded))] == [(4, 3)] * 3


def test_weights_for_colours_are_adapted_to_gray(tmp_path):
    save_for_hf(with_exits("resnet10t"), tmp_path, safe_serialization=True)
    loaded = create_network(str(tmp_path), in_chans=1)
    weights = load_file(tmp_path / "model.safetensors")["backbone.conv1.0.weight"]
    assert loaded.in_chans == 1
    torch.testing.assert_close(loaded.backbone.conv1[0].weight.detach(), weights.sum(dim=1, keepdim=True))


def test_what_was_changed_afterwards_is_saved_too(tmp_path):
    """Neither the classes nor the pooling are those with which the network was made."""
    model = with_exits("resnet10t")
    model.reset_classifier(3, "max")
    save_for_hf(model, tmp_path, safe_serialization=True)
    loaded = create_network(str(tmp_path))
    assert loaded.num_classes == 3
    assert same_exits(model, loaded)


def test_a_network_from_a_folder_gets_exits_and_is_saved_with_them(tmp_path):
    """What a user does: train, attach exits to what came of it, train these."""
    torch.manual_seed(0)
    plain = create_network("mobilenetv3_small_050", num_classes=CLASSES, img_size=32)
    save_model_folder(plain, tmp_path / "plain", tuple("abcde"), Preprocessing(32))
    model = attach_exits(create_network(str(tmp_path / "plain")), ["blocks.1", "blocks.3"], img_size=32, freeze=True)
    save_model_folder(model, tmp_path / "exits", tuple("abcde"), Preprocessing(32))
    loaded = create_network(str(tmp_path / "exits"))
    images = images_for(plain)
    with torch.no_grad():
        assert torch.equal(loaded.eval()(images), plain.eval()(images))
    assert same_exits(model, loaded)
    assert str(tmp_path) not in (tmp_path / "exits" / "config.json").read_text()
