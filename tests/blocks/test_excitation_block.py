"""Channel-wise squeeze and excitation, held against loops over samples and positions as the paper words it."""

import math

import pytest
import torch
from torch import nn

from leannet.blocks import ChannelSqueezeExcitation, stack_channels


def images(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def block_with_history(height=4, width=3, **arguments):
    """A block in evaluation mode whose batch norms have seen data: no mean is 0, no variance and scale is 1."""
    torch.manual_seed(0)
    block = ChannelSqueezeExcitation(height, width, **arguments).double().eval()
    for norm in block.modules():
        if isinstance(norm, nn.BatchNorm1d):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)
    return block


def fully_connected(layer, vector):
    out = []
    for row in range(layer.out_features):
        total = 0.0 if layer.bias is None else layer.bias[row].item()
        for column, value in enumerate(vector):
            total += layer.weight[row, column].item() * value
        out.append(total)
    return out


def normalised(norm, vector):
    if not isinstance(norm, nn.BatchNorm1d):
        return vector
    return [
        (value - mean) / math.sqrt(variance + norm.eps) * scale + shift
        for value, mean, variance, scale, shift in zip(
            vector,
            norm.running_mean.tolist(),
            norm.running_var.tolist(),
            norm.weight.tolist(),
            norm.bias.tolist(),
            strict=True,
        )
    ]


def excited(block, x):
    """Squeeze, flatten, reduction, scaling, reshape, stack, excitation."""
    samples, channels, height, width = x.shape
    out = torch.empty_like(x)
    for n in range(samples):
        squeezed = []
        for row in range(height):
            for column in range(width):
                squeezed.append(sum(x[n, c, row, column].item() for c in range(channels)) / channels)
        hidden = [
            max(value, 0.0) for value in normalised(block.reduction_norm, fully_connected(block.reduction, squeezed))
        ]
        logits = normalised(block.scaling_norm, fully_connected(block.scaling, hidden))
        for position, logit in enumerate(logits):
            row, column = divmod(position, width)
            for c in range(channels):
                out[n, c, row, column] = x[n, c, row, column] / (1 + math.exp(-logit))
    return out


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize(("height", "width"), [(4, 4), (3, 5), (1, 1)])
def test_block_equals_the_loops(height, width, bias, batch_norm):
    block = block_with_history(height, width, cap=6, bias=bias, batch_norm=batch_norm)
    x = images(3, 5, height, width)
    torch.testing.assert_close(block(x), excited(block, x), rtol=0, atol=1e-12)


def test_batch_norm_uses_the_batch_in_training():
    block = block_with_history().train()
    frozen = block_with_history()
    x = images(8, 5, 4, 3)
    entering = x.mean(dim=1).flatten(1)
    with torch.no_grad():
        for norm, layer in ((frozen.reduction_norm, block.reduction), (frozen.scaling_norm, block.scaling)):
            answer = layer(entering)
            norm.running_mean.copy_(answer.mean(dim=0))
            norm.running_var.copy_(answer.var(dim=0, unbiased=False))
            entering = torch.relu(norm(answer))
    torch.testing.assert_close(block(x), frozen(x), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("height", "width", "reduction", "cap", "hidden"),
    [
        (28, 28, 16, 16, 49),
        (14, 14, 16, 16, 16),
        (7, 7, 16, 16, 16),
        (16, 16, 16, 16, 16),
        (32, 32, 16, 8, 64),
        (8, 8, 16, 8, 8),
        (10, 13, 16, 4, 8),  # 130 / 16 is rounded down
        (4, 4, 2, 1, 8),
        (1, 1, 16, 16, 16),
    ],
)
def test_hidden_width_is_the_reduced_map_but_no_less_than_the_cap(height, width, reduction, cap, hidden):
    block = ChannelSqueezeExcitation(height, width, reduction=reduction, cap=cap)
    positions = height * width
    assert block.reduction.weight.shape == (hidden, positions)
    assert block.scaling.weight.shape == (positions, hidden)
    # Two layers with bias, a scale and a shift for each of their outputs.
    assert sum(p.numel() for p in block.parameters()) == 2 * positions * hidden + 3 * hidden + 3 * positions


def test_parameters_without_bias_and_norm_are_the_two_matrices():
    block = ChannelSqueezeExcitation(8, 8, bias=False, batch_norm=False)
    assert sum(p.numel() for p in block.parameters()) == 2 * 64 * 16


def test_gate_is_one_number_for_all_channels_of_a_position():
    block = block_with_history()
    x = images(2, 5, 4, 3)
    gate = block.gate(x)
    assert gate.shape == (2, 1, 4, 3)
    assert gate.min() > 0
    assert gate.max() < 1
    torch.testing.assert_close(block(x) / x, gate.expand_as(x))


def test_gate_sees_the_channels_through_their_mean_only():
    block, x = block_with_history(), images(1, 6, 4, 3)
    jacobian = torch.autograd.functional.jacobian(block.gate, x)  # (1, 1, 4, 3, 1, 6, 4, 3)
    jacobian = jacobian[0, 0, :, :, 0].flatten(0, 1)  # (positions of the gate, channels, height, width)
    assert jacobian.abs().sum() > 0
    for position in jacobian:
        assert torch.linalg.matrix_rank(position.flatten(1)) <= 1
    # As a map from channels to gate: the same column for every channel.
    by_channel = jacobian.transpose(0, 1).flatten(1)
    assert torch.linalg.matrix_rank(by_channel) == 1
    torch.testing.assert_close(by_channel, by_channel[:1].expand_as(by_channel))


def test_gradients():
    block = block_with_history(batch_norm=True)
    assert torch.autograd.gradcheck(block, images(2, 3, 4, 3).requires_grad_())
    smooth = block_with_history(3, 3, batch_norm=False).train()
    assert torch.autograd.gradcheck(smooth, images(2, 2, 3, 3, seed=1).requires_grad_())


def test_another_size_is_refused():
    with pytest.raises(RuntimeError):
        block_with_history(4, 3)(images(1, 2, 4, 4))


@pytest.mark.parametrize(("have", "want"), [(3, 3), (3, 6), (3, 8), (5, 2), (1, 4)])
def test_stacking_repeats_the_channels_in_order_and_cuts_the_last_repetition(have, want):
    x = images(2, have, 2, 3)
    stacked = stack_channels(x, want)
    assert stacked.shape == (2, want, 2, 3)
    for c in range(want):
        assert torch.equal(stacked[:, c], x[:, c % have])
