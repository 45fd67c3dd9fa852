"""What the counts cannot see: how the blocks of the papers' networks are wired, held against the papers' words."""

import pytest
import timm
import torch
import torch.nn.functional as F
from registered_networks import images, network
from torch import nn

from leannet import create_network
from leannet.blocks import ChannelSqueezeExcitation


def gates(model):
    return [m for m in model.modules() if isinstance(m, ChannelSqueezeExcitation)]


def normalised(layer, x):
    return F.batch_norm(x, layer.running_mean, layer.running_var, layer.weight, layer.bias, eps=layer.eps)


def convolved(layer, x, stride=1):
    """Convolution with its batch norm, from the weights."""
    weight, bias = layer.conv.weight, layer.conv.bias
    groups = x.shape[1] // weight.shape[1]
    padding = weight.shape[-1] // 2
    return normalised(layer.bn, F.conv2d(x, weight, bias, stride=stride, padding=padding, groups=groups))


def relu6(x):
    return x.clamp(0, 6)


def run_to(model, stage, x):
    """What the stage reads."""
    for earlier in model.stages[:stage]:
        x = earlier(x)
    return x


# Rows 4 to 7 of table 1: where the stage starts (from 0), its stride, and the channels before and after.
CSE_ROWS = [(3, 2, 32, 64), (4, 2, 64, 96), (5, 1, 96, 160), (6, 2, 160, 320)]


@pytest.mark.parametrize(("stage", "stride", "channels", "wanted"), CSE_ROWS)
def test_by_counts_a_gate_leads_the_row_and_its_map_is_stacked(stage, stride, channels, wanted):
    model = network("mobilenetv2_cse")
    block, x = model.stages[stage][0], run_to(model, stage, images("mobilenetv2_cse"))
    depthwise = relu6(convolved(block.depthwise, relu6(convolved(block.expansion, x)), stride))
    assert depthwise.shape[1] == channels
    gate = block.projection.excitation.gate(depthwise)
    stacked = torch.stack([(depthwise * gate)[:, c % channels] for c in range(wanted)], dim=1)
    expected = stacked + convolved(block.shortcut, x, stride)
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-4)


def test_by_counts_plain_blocks_without_expansion_follow():
    model, x = network("mobilenetv2_cse"), images("mobilenetv2_cse")
    for stage, _, _, channels in CSE_ROWS:
        entering = model.stages[stage][0](run_to(model, stage, x))
        for block in model.stages[stage][1:]:
            inner = relu6(convolved(block.depthwise, relu6(convolved(block.expansion, entering))))
            assert inner.shape[1] == channels
            expected = entering + convolved(block.projection, inner)
            torch.testing.assert_close(block(entering), expected, rtol=1e-4, atol=1e-4)
            entering = block(entering)


@pytest.mark.parametrize("name", ["mobilenetv2_cse", "mobilenetv2_optimised"])
def test_by_counts_the_first_rows_are_bottlenecks_with_shortcut_convolutions(name):
    model = network(name)
    x = images(name)
    blocks = [block for stage in model.stages[:3] for block in stage]
    strides = [block.depthwise.conv.stride[0] for block in blocks]
    assert [block.depthwise.conv.in_channels for block in blocks] == [16, 96, 144, 192]
    for block, stride, shortcut in zip(blocks, strides, ["none", "conv", "conv", "identity"], strict=True):
        out = convolved(
            block.projection, relu6(convolved(block.depthwise, relu6(convolved(block.expansion, x)), stride))
        )
        if shortcut != "none":
            out = out + (convolved(block.shortcut, x, stride) if shortcut == "conv" else x)
        torch.testing.assert_close(block(x), out, rtol=1e-4, atol=1e-4)
        x = block(x)


def test_the_optimised_network_projects_where_the_mix_has_gates():
    model = create_network("mobilenetv2_optimised", img_size=32)
    assert gates(model) == []
    for stage, stride, channels, wanted in CSE_ROWS:
        block = model.stages[stage][0]
        assert block.projection.conv.weight.shape == (wanted, channels, 1, 1)
        assert block.depthwise.conv.stride == (stride, stride)
        assert block.projection.conv.bias is not None


@pytest.mark.parametrize(
    ("size", "maps"), [(32, [(16, 16), (8, 16), (8, 16), (4, 16)]), (224, [(28, 49), (14, 16), (14, 16), (7, 16)])]
)
def test_by_counts_four_gates_have_these_sizes_and_hidden_widths(size, maps):
    model = timm.create_model("mobilenetv2_cse", img_size=size)
    assert [(g.height, g.reduction.out_features) for g in gates(model)] == maps


def test_by_table_every_block_of_the_four_rows_has_a_gate_without_bias():
    model = network("mobilenetv2_cse_literal")
    assert len(gates(model)) == 4 + 3 + 3 + 1
    assert all(m.bias is None for m in model.modules() if isinstance(m, nn.Conv2d))
    for gate in gates(model):
        assert gate.reduction.bias is None
        assert gate.scaling.bias is None
        assert gate.reduction.out_features == max(gate.height * gate.width // 16, 16)
        assert not [m for m in gate.modules() if isinstance(m, nn.BatchNorm1d)]


def test_by_table_groups_of_gated_channels_are_averaged():
    model, x = network("mobilenetv2_cse_literal"), images("mobilenetv2_cse_literal")
    for stage, stride, channels, wanted in CSE_ROWS:
        entering = run_to(model, stage, x)
        for index, block in enumerate(model.stages[stage]):
            hidden = 2 * (channels if index == 0 else wanted)
            inner = relu6(
                convolved(block.depthwise, relu6(convolved(block.expansion, entering)), stride if index == 0 else 1)
            )
            assert inner.shape[1] == hidden
            gated = inner * block.projection.excitation.gate(inner)
            # Group c of C reads the channels from c * hidden / C, rounded down, to (c + 1) * hidden / C, rounded up.
            bounds = [(c * hidden // wanted, -(-(c + 1) * hidden // wanted)) for c in range(wanted)]
            out = torch.stack([gated[:, start:end].mean(dim=1) for start, end in bounds], dim=1)
            expected = out + entering if index > 0 else out
            torch.testing.assert_close(block(entering), expected, rtol=1e-4, atol=1e-4)
            entering = block(entering)


def test_with_gates_only_every_row_is_led_by_one_and_none_is_below_the_cap():
    model = network("mobilenetv2_cse_only")
    assert [g.height for g in gates(model)] == [32, 32, 32, 16, 8, 8, 4]
    assert [g.reduction.out_features for g in gates(model)] == [64, 64, 64, 16, 8, 8, 8]


@pytest.mark.parametrize("name", ["mobilenetv2_cse", "mobilenetv2_cse_literal", "mobilenetv2_optimised"])
def test_the_last_convolution_is_grouped(name):
    model = network(name)
    convolution = model.neck.conv
    assert (convolution.in_channels, convolution.out_channels, convolution.groups) == (320, 1280, 320)
    features = model.forward_features(images(name))
    assert features.min() >= 0
    assert features.max() <= 6


@pytest.mark.parametrize("name", ["sm_v2", "sm_v2_2_2", "sm_v2_2_1_5", "sm_v2_3_2", "sm_v2_x2nr"])
def test_the_last_bottleneck_of_sm_v2_is_followed_by_relu6_and_the_pooling(name):
    model, batch = network(name), images(name)
    x = model.blocks(model.bn1(model.conv_stem(batch)))
    assert x.min() < 0
    expected = relu6(x).mean(dim=(2, 3)) @ model.classifier.weight.T + model.classifier.bias
    torch.testing.assert_close(model(batch), expected, rtol=1e-4, atol=1e-4)


def test_skip_connections_are_where_shapes_allow_and_nowhere_in_x2nr():
    for name in ("sm_v2", "mobilenetv2_bias"):
        for block in [block for stage in network(name).blocks for block in stage]:
            convolution, projection = block.conv_dw, getattr(block, "conv_pwl", getattr(block, "conv_pw", None))
            entering = block.conv_pw.in_channels if hasattr(block, "conv_pwl") else convolution.in_channels
            assert block.has_skip == (convolution.stride == (1, 1) and entering == projection.out_channels)
    blocks = [block for stage in network("sm_v2_x2nr").blocks for block in stage]
    assert not any(block.has_skip for block in blocks)
    x = torch.randn(1, 32, 8, 8, generator=torch.Generator().manual_seed(0))
    silenced = timm.create_model("sm_v2_x2nr").eval().blocks[1][1]
    nn.init.zeros_(silenced.bn3.weight)
    assert torch.equal(silenced(x), torch.zeros(1, 32, 8, 8))  # with a skip connection it would be x


def test_every_activation_of_the_tables_is_relu6():
    for name in ("sm_v2", "mobilenetv2_bias"):
        kinds = {type(m).__name__ for m in network(name).modules() if "LU" in type(m).__name__}
        assert kinds == {"ReLU6"}


def test_the_baseline_has_a_bias_in_every_convolution():
    assert all(m.bias is not None for m in network("mobilenetv2_bias").modules() if isinstance(m, nn.Conv2d))
