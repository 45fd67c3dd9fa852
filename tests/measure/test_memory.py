"""Peak memory of activations against sums by hand, on networks so small that every tensor is known."""

import pytest
import torch
from torch import nn

from leannet.measure import peak_activation_bytes

FLOAT = 4
PIXELS = 8 * 8


def maps(*channels, pixels=PIXELS):
    """Bytes of feature maps that are alive together, for one image."""
    return FLOAT * pixels * sum(channels)


def convolution(before, after, stride=1):
    return nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)


class Residual(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return x + self.layers(x)


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


# The image stays alive all the time: whoever asks for the measurement holds it. (3 channels of 8 x 8 pixels.)
NETWORKS = {
    "one layer": (convolution(3, 5), maps(3, 5)),
    # The first map dies when the third is made.
    "chain": (nn.Sequential(convolution(3, 4), convolution(4, 16), convolution(16, 2)), maps(3, 4, 16)),
    "chain, widest last": (nn.Sequential(convolution(3, 4), convolution(4, 2), convolution(2, 16)), maps(3, 2, 16)),
    "stride": (nn.Sequential(convolution(3, 16, stride=2), convolution(16, 16)), maps(3) + 2 * maps(16, pixels=16)),
    "activation": (nn.Sequential(convolution(3, 16), nn.ReLU()), maps(3, 16, 16)),
    "activation in place": (nn.Sequential(convolution(3, 16), nn.ReLU(inplace=True)), maps(3, 16)),
    # The input of the block lives until it is added; the sum is a tensor of its own.
    "residual": (
        nn.Sequential(convolution(3, 8), Residual(convolution(8, 8), convolution(8, 8))),
        maps(3, 8, 8, 8),
    ),
    "residual, wide inside": (
        nn.Sequential(convolution(3, 8), Residual(convolution(8, 32), convolution(32, 8))),
        maps(3, 8, 32, 8),
    ),
    "chain as wide as the residual": (
        nn.Sequential(convolution(3, 8), convolution(8, 32), convolution(32, 8)),
        maps(3, 32, 8),
    ),
    # What shares its memory with another tensor costs nothing.
    "views": (nn.Sequential(convolution(3, 4), nn.Flatten(), nn.Unflatten(1, (4, 8, 8))), maps(3, 4)),
    "view that keeps the whole alive": (
        Function(lambda x: x.repeat(1, 4, 1, 1)[:, :1] + 0),
        maps(3, 12, 1),
    ),
    "copy": (Function(lambda x: x.transpose(1, 2).contiguous()), maps(3, 3)),
    "input in place": (nn.ReLU(inplace=True), maps(3)),
    "nothing": (nn.Identity(), maps(3)),
    "batch norm": (nn.Sequential(convolution(3, 16), nn.BatchNorm2d(16)), maps(3, 16, 16)),
    "pooling and linear": (
        nn.Sequential(convolution(3, 16), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)),
        maps(3, 16) + FLOAT * 16,
    ),
    "list": (Function(lambda x: [x + 1, x + 2, x + 3]), maps(3, 3, 3, 3)),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("batch", [1, 3])
def test_peak_by_hand(name, batch):
    model, expected = NETWORKS[name]
    assert peak_activation_bytes(model, torch.randn(batch, 3, 8, 8)) == batch * expected


def test_weights_and_buffers_do_not_count():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(3, 1000))
            self.register_buffer("mask", torch.ones(1000, 1000))

        def forward(self, x):
            return x @ self.weight[:, :10] + self.mask.t()[0, :10]

    # The product and the sum.
    assert peak_activation_bytes(Masked(), torch.randn(1, 3)) == FLOAT * (3 + 10 + 10)


def test_gradients_do_not_keep_anything_alive():
    model = nn.Sequential(*(convolution(3, 3) for _ in range(6))).train()
    assert peak_activation_bytes(model, torch.randn(1, 3, 8, 8)) == maps(3, 3, 3)
    assert all(module.training for module in model.modules())


def test_measuring_twice_gives_the_same():
    model = nn.Sequential(convolution(3, 8), Residual(convolution(8, 32), nn.ReLU(), convolution(32, 8)))
    images = torch.randn(2, 3, 8, 8)
    assert len({peak_activation_bytes(model, images) for _ in range(3)}) == 1


def test_duplication_is_seen_in_memory_and_its_fused_form_is_not():
    from leannet.blocks import ChannelMaxPool, Duplicate, fuse_duplicate

    duplicate, depthwise, pool = Duplicate(6), nn.Conv2d(24, 24, 3, padding=1, groups=24), ChannelMaxPool(6)
    images = torch.randn(1, 4, 8, 8)
    assert peak_activation_bytes(nn.Sequential(duplicate, depthwise, pool), images) == maps(4, 24, 24)
    fused = nn.Sequential(fuse_duplicate(duplicate, depthwise), pool)
    assert peak_activation_bytes(fused, images) == maps(4, 24, 4)
