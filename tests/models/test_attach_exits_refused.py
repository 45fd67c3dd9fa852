"""Networks that heads could not read, or would read wrongly, are refused when exits are attached, with the reason."""

import re

import pytest
import timm
import torch

from leannet import UserError
from leannet.models import attach_exits

REMEDY = "Choose another network: mobilenetv2_100, resnet18 and convnext_atto are some that work."
LAST = "the {} channels of {} come last in its maps, and exits read those that come first. " + REMEDY
TOKENS = "answers with {} values for an image, not with maps of channels, height and width. " + REMEDY


@pytest.mark.parametrize(
    ("name", "size", "stages", "said"),
    [
        ("mambaout_femto", 64, None, LAST.format(48, "stages.0")),
        ("mambaout_femto", 64, ["stages.2"], LAST.format(48, "stages.0")),
        # Here the map after the exit is 48 x 48 x 48, and only the later ones show what comes first.
        ("mambaout_femto", 192, ["stages.0"], LAST.format(96, "stages.1")),
        ("swin_tiny_patch4_window7_224", 224, ["layers.1"], LAST.format(96, "layers.0")),
        ("mixer_s32_224", 224, None, TOKENS.format("49 x 512")),
        ("mixer_s32_224", 224, [2], "blocks.2 " + TOKENS.format("49 x 512")),
        ("resmlp_12_224", 224, [3], "blocks.3 " + TOKENS.format("196 x 384")),
        ("gmlp_s16_224", 224, [3], "blocks.3 " + TOKENS.format("196 x 256")),
        # Its stages answer with maps, but what its classifier reads are tokens.
        ("efficientformer_l1", 224, ["stages.1"], "norm " + TOKENS.format("49 x 448")),
        ("selecsls42", 64, None, "its features are not computed by modules one after the other. " + REMEDY),
        ("hrnet_w18_small", 64, None, "its features are not computed by modules one after the other. " + REMEDY),
    ],
)
def test_refused_with_the_reason(name, size, stages, said):
    model = timm.create_model(name, num_classes=3)
    with pytest.raises(UserError, match=re.escape(said)) as caught:
        attach_exits(model, stages, img_size=size, freeze=True)
    assert str(caught.value).startswith(f"cannot attach exits to {name}: ")
    assert len(str(caught.value).splitlines()) == 1
    assert all(weight.requires_grad for weight in model.parameters()), "it was changed before it was refused"


@pytest.mark.parametrize("name", ["mobilenetv2_100", "resnet18", "convnext_atto"])
def test_what_the_remedy_names_works(name):
    assert name in REMEDY
    model = attach_exits(timm.create_model(name, num_classes=3), img_size=64).eval()
    widths = {entry["module"]: entry["num_chs"] for entry in model.backbone.feature_info}
    for stage, head in zip(model.stages, model.exits, strict=True):
        first = next(layer for layer in head.transform.modules() if isinstance(layer, torch.nn.Conv2d))
        assert first.in_channels == widths[stage]
    with torch.no_grad():
        assert [tuple(each.shape) for each in model.forward_exits(torch.zeros(1, 3, 64, 64))] == [(1, 3)] * 3


@pytest.mark.parametrize(("one", "expected"), [("layer1", "layer1"), ("2", "layer2"), (-2, "layer3")])
def test_one_stage_needs_no_list(one, expected):
    assert attach_exits(timm.create_model("resnet10t"), one, img_size=32).stages == (expected,)


def test_a_string_that_is_no_stage_is_named_as_a_whole():
    with pytest.raises(UserError, match="no exit after layer9 of resnet10t: no such stage"):
        attach_exits(timm.create_model("resnet10t"), "layer9", img_size=32)
