"""Duplicate Max-pooling, held against loops over the channels as the paper words them."""

import pytest
import torch
from timm.layers import Conv2dSame
from torch import nn

from leannet.blocks import ChannelMaxPool, Duplicate, DuplicatePlanes, PlaneMaxPool, fuse_duplicate, plane_order


def duplicated(x, copies):
    """Channel c of the input is channels c * t to c * t + t - 1 of the output."""
    samples, channels, height, width = x.shape
    out = torch.empty(samples, channels * copies, height, width, dtype=x.dtype)
    for c in range(channels):
        for copy in range(copies):
            out[:, c * copies + copy] = x[:, c]
    return out


def max_pooled(x, copies):
    """Channel c of the output is, at every position, the largest of channels c * t to c * t + t - 1."""
    samples, hidden, height, width = x.shape
    out = torch.empty(samples, hidden // copies, height, width, dtype=x.dtype)
    for n in range(samples):
        for c in range(hidden // copies):
            for row in range(height):
                for column in range(width):
                    values = [x[n, c * copies + copy, row, column].item() for copy in range(copies)]
                    out[n, c, row, column] = max(values)
    return out


def images(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("copies", [1, 2, 6])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 1, 1, 1), (3, 4, 1, 7)])
def test_duplicate_copies_each_channel_in_place(copies, shape):
    x = images(*shape)
    assert torch.equal(Duplicate(copies)(x), duplicated(x, copies))


@pytest.mark.parametrize("copies", [1, 2, 6])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 1, 1, 1), (3, 4, 1, 7)])
def test_max_pool_keeps_the_largest_of_the_copies(copies, shape):
    samples, channels, height, width = shape
    x = images(samples, channels * copies, height, width)
    assert torch.equal(ChannelMaxPool(copies)(x), max_pooled(x, copies))


def test_max_pool_of_negative_values_is_not_zero():
    assert torch.equal(ChannelMaxPool(3)(torch.full((1, 6, 2, 2), -5.0)), torch.full((1, 2, 2, 2), -5.0))


def test_max_pool_undoes_duplicate():
    x = images(2, 5, 3, 3)
    assert torch.equal(ChannelMaxPool(4)(Duplicate(4)(x)), x)


def test_max_pool_refuses_channels_that_are_no_multiple():
    with pytest.raises(RuntimeError):
        ChannelMaxPool(4)(images(1, 6, 2, 2))


def test_blocks_have_no_weights_and_name_their_copies():
    for block in (Duplicate(6), ChannelMaxPool(6)):
        assert not list(block.parameters())
        assert not list(block.buffers())
        assert "copies=6" in repr(block)


def test_gradients():
    x = images(2, 4, 3, 3, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(Duplicate(3), x)
    # Random values have no ties, so the maximum is smooth where it is tested.
    assert torch.autograd.gradcheck(ChannelMaxPool(2), x)


DEPTHWISE = [
    {"kernel_size": 3, "stride": 1, "padding": 1},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 5, "stride": 1, "padding": 2},
    {"kernel_size": 5, "stride": 2, "padding": 0},
    {"kernel_size": (3, 5), "stride": (2, 1), "padding": (0, 2)},
    {"kernel_size": 7, "stride": 1, "padding": "same"},
    {"kernel_size": 3, "stride": 1, "padding": 2, "dilation": 2},
    {"kernel_size": 3, "stride": 1, "padding": 1, "padding_mode": "reflect"},
    {"kernel_size": 1, "stride": 1, "padding": 0},
]


@pytest.mark.parametrize("arguments", DEPTHWISE, ids=str)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("channels", "copies"), [(3, 4), (1, 6), (5, 1)])
def test_fused_convolution_equals_the_two_in_turn(arguments, bias, channels, copies):
    torch.manual_seed(0)
    hidden = channels * copies
    depthwise = nn.Conv2d(hidden, hidden, groups=hidden, bias=bias, **arguments).double()
    fused = fuse_duplicate(Duplicate(copies), depthwise)
    x = images(2, channels, 9, 8, dtype=torch.float64)
    torch.testing.assert_close(fused(x), depthwise(duplicated(x, copies)), rtol=0, atol=1e-12)
    assert (fused.in_channels, fused.out_channels, fused.groups) == (channels, hidden, channels)


@pytest.mark.parametrize("stride", [1, 2])
def test_fused_convolution_keeps_the_padding_of_a_subclass(stride):
    torch.manual_seed(0)
    depthwise = Conv2dSame(12, 12, 3, stride=stride, groups=12).double()
    x = images(1, 3, 9, 8, dtype=torch.float64)  # an even side at stride 2: this padding is not symmetric
    fused = fuse_duplicate(Duplicate(4), depthwise)
    assert type(fused) is Conv2dSame
    torch.testing.assert_close(fused(x), depthwise(duplicated(x, 4)), rtol=0, atol=1e-12)


def test_fused_convolution_shares_the_weights_and_leaves_the_original_as_it_was():
    depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
    fused = fuse_duplicate(Duplicate(4), depthwise)
    assert fused.weight is depthwise.weight
    assert fused.bias is depthwise.bias
    assert (depthwise.in_channels, depthwise.groups) == (8, 8)
    assert depthwise(images(1, 8, 4, 4)).shape == (1, 8, 4, 4)
    fused.weight = nn.Parameter(torch.zeros_like(fused.weight))
    assert depthwise.weight.abs().sum() > 0  # a new tensor in one is not put into the other


def test_fused_convolution_trains_the_same_weights():
    torch.manual_seed(0)
    depthwise = nn.Conv2d(6, 6, 3, padding=1, groups=6).double()
    x = images(1, 2, 4, 4, dtype=torch.float64)
    fuse_duplicate(Duplicate(3), depthwise)(x).square().sum().backward()
    fused_gradient, depthwise.weight.grad = depthwise.weight.grad, None
    depthwise(duplicated(x, 3)).square().sum().backward()
    torch.testing.assert_close(fused_gradient, depthwise.weight.grad)


@pytest.mark.parametrize(
    ("convolution", "message"),
    [
        (nn.Conv2d(8, 8, 3), "only a depthwise convolution"),
        (nn.Conv2d(8, 8, 3, groups=4), "only a depthwise convolution"),
        (nn.Conv2d(8, 16, 3, groups=8), "only a depthwise convolution"),
        (nn.Conv2d(9, 9, 3, groups=9), "9 channels are no multiple of 4 copies"),
    ],
)
def test_what_cannot_be_fused_is_refused(convolution, message):
    with pytest.raises(ValueError, match=message):
        fuse_duplicate(Duplicate(4), convolution)


@pytest.mark.parametrize("copies", [1, 2, 3, 5, 6, 7])
@pytest.mark.parametrize("channels", [1, 4])
def test_planes_are_copies_behind_each_other(copies, channels):
    x = images(2, channels, 3, 2)
    planes = DuplicatePlanes(copies)(x)
    assert planes.shape == (2, channels * copies, 3, 2)
    for copy in range(copies):
        for c in range(channels):
            assert torch.equal(planes[:, copy * channels + c], x[:, c])


@pytest.mark.parametrize("copies", [1, 2, 3, 5, 6, 7])
@pytest.mark.parametrize("channels", [1, 4])
def test_plane_max_pool_keeps_the_largest_of_the_planes(copies, channels):
    x = images(2, channels * copies, 3, 2)
    pooled = PlaneMaxPool(copies)(x)
    assert pooled.shape == (2, channels, 3, 2)
    for c in range(channels):
        values = [x[:, copy * channels + c] for copy in range(copies)]
        assert torch.equal(pooled[:, c], torch.stack(values).max(dim=0).values)


@pytest.mark.parametrize(("channels", "copies"), [(3, 4), (1, 6), (5, 1)])
def test_plane_order_leads_from_one_order_to_the_other(channels, copies):
    x = images(2, channels * copies, 3, 2)
    order = plane_order(channels, copies)
    assert order.tolist() == [c * copies + copy for copy in range(copies) for c in range(channels)]
    assert torch.equal(DuplicatePlanes(copies)(x[:, :channels]), duplicated(x[:, :channels], copies)[:, order])
    assert torch.equal(PlaneMaxPool(copies)(x[:, order]), max_pooled(x, copies))


def test_weights_between_planes_are_marked():
    with pytest.raises(RuntimeError, match="planes"):
        DuplicatePlanes(6).load_state_dict(Duplicate(6).state_dict())
