"""Inverted residuals that are nearly, but not quite, those of the paper."""

import pytest
import timm
import torch
from registered_networks import with_history
from timm.layers import EffectiveSEModule, freeze_batch_norm_2d
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from leannet import fuse, replace_linear_bottlenecks

SIZE = (3, 64, 64)


def converted(name):
    torch.manual_seed(0)
    model = timm.create_model(name).eval()
    return model, replace_linear_bottlenecks(model, input_size=SIZE)


def answers(model):
    with torch.no_grad():
        return model(torch.randn(2, *SIZE, generator=torch.Generator().manual_seed(0)))


def test_what_is_saved_is_predicted_with_group_norms():
    _, conversion = converted("efficientnet_b0_gn")
    assert conversion.replaced
    assert conversion.predicted == conversion.counted


def test_a_fused_network_with_group_norms_answers_as_before():
    model, _ = converted("efficientnet_b0_gn")
    expected = answers(model)
    fuse(model)
    torch.testing.assert_close(answers(model), expected, rtol=1e-3, atol=1e-3)


def with_excitation(make):
    """Make EfficientNet-B0 with another squeeze-and-excitation in its inverted residuals."""
    torch.manual_seed(0)
    model = timm.create_model("efficientnet_b0").eval()
    for block in model.modules():
        if hasattr(block, "se") and hasattr(block, "conv_pwl"):
            block.se = make(block.conv_dw.out_channels)
    return model


def frozen_norms():
    return freeze_batch_norm_2d(timm.create_model("efficientnet_b0").eval())


def norms_without_weights():
    model = timm.create_model("efficientnet_b0").eval()
    for block in model.modules():
        if hasattr(block, "conv_pwl"):
            block.bn2 = nn.Sequential(nn.GroupNorm(4, block.conv_dw.out_channels, affine=False), nn.SiLU())
    return model


@pytest.mark.parametrize("form", ["planes", "branches", "grouped"])
@pytest.mark.parametrize(
    "make",
    [
        # It mixes all channels in one convolution, whose rows and columns would both have to be reordered.
        lambda: with_excitation(EffectiveSEModule),
        # Its first convolution has as many rows as columns.
        lambda: with_excitation(lambda channels: SqueezeExcite(channels, rd_channels=channels)),
        frozen_norms,
        norms_without_weights,
    ],
    ids=["effective", "without a squeeze", "frozen norms", "norms without weights"],
)
def test_layers_of_another_kind_answer_as_before(make, form):
    model = make()
    conversion = replace_linear_bottlenecks(model, input_size=SIZE)
    with_history(model.double(), torch.randn(4, *SIZE).double())
    for module in model.modules():
        if isinstance(module, FrozenBatchNorm2d):  # channels that nothing tells apart could stand in any order
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    images = torch.randn(2, *SIZE, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        expected = model(images)
        assert fuse(model, form) == len(conversion.replaced) == 9
        torch.testing.assert_close(model(images), expected, rtol=1e-9, atol=1e-9)
    assert not any(module.training for module in model.modules())


def test_blocks_that_mix_channels_in_their_spatial_convolution_are_left_alone():
    # "Between them nothing mixes channels" is what makes the paper's replacement possible.
    _, conversion = converted("efficientnet_b0_g8_gn")
    assert conversion.replaced == ()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("mixnet_s", "its convolutions are mixed or conditional"),
        ("efficientnet_cc_b0_4e", "its convolutions are mixed or conditional"),
        ("mobilenetv4_conv_small_050", "it is a universal inverted residual"),
        ("test_efficientnet", "its expansion is fused with the spatial convolution"),
        ("lcnet_035", "it has no expansion"),
    ],
)
def test_other_blocks_of_the_family_are_named_with_their_reason(name, reason):
    _, conversion = converted(name)
    assert reason in {block.reason for block in conversion.blocks if not block.replaced}
    assert conversion.predicted == conversion.counted


def test_blocks_of_equal_width_do_not_expand():
    _, conversion = converted("fbnetc_100")
    assert {block.reason for block in conversion.blocks if block.hidden_channels == block.in_channels} == {
        "it does not expand"
    }
    assert len(conversion.replaced) == 12


def test_a_stride_keeps_a_block_of_equal_width():
    # In SM_V2 a stage starts with as many channels as the one before it had.
    _, conversion = converted("sm_v2")
    by_name = {block.name: block for block in conversion.blocks}
    assert by_name["blocks.1.0"].reason == "its stride is 2"
    assert by_name["blocks.1.1"].replaced


def test_blocks_without_a_skip_connection_get_none():
    torch.manual_seed(0)
    model = timm.create_model("sm_v2_x2nr").eval()
    conversion = replace_linear_bottlenecks(model, input_size=SIZE)
    assert conversion.predicted == conversion.counted
    with_history(model, torch.randn(4, *SIZE))
    block = model.get_submodule(conversion.replaced[0].name)
    x = torch.randn(1, conversion.replaced[0].in_channels, 8, 8)
    filtered = block.se(block.bn2(block.conv_dw(block.conv_pw(x))))
    torch.testing.assert_close(block(x), filtered.unflatten(1, (x.shape[1], -1)).max(dim=2).values)
