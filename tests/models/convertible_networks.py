"""Networks with linear bottlenecks, what is known of their blocks from their papers, and the paper of DMP in loops."""

import copy
from functools import cache, partial

import timm
import torch
import torchvision
from registered_networks import with_history
from torch import nn


def rows(channels, *table):
    """Write a table of expansion t, channels c, repeats n, stride s as one row for each block."""
    blocks = []
    for t, c, n, s in table:
        for i in range(n):
            blocks.append((t * channels, c, s if i == 0 else 1))
            channels = c
    return blocks


# Each row is a block: hidden and output channels, stride. A hidden width of 0 stands for a block without expansion.
MOBILENETV2 = [
    (0, 16, 1),
    *rows(16, (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
]
EFFICIENTNET_B0 = [
    (0, 16, 1),
    *rows(16, (6, 24, 2, 2), (6, 40, 2, 2), (6, 80, 3, 2), (6, 112, 3, 1), (6, 192, 4, 2), (6, 320, 1, 1)),
]
MNASNET = rows(16, (3, 24, 3, 2), (3, 40, 3, 2), (6, 80, 3, 2), (6, 96, 2, 1), (6, 192, 4, 2), (6, 320, 1, 1))
MNASNET_HALF = rows(8, (3, 16, 3, 2), (3, 24, 3, 2), (6, 40, 3, 2), (6, 48, 2, 1), (6, 96, 4, 2), (6, 160, 1, 1))
MOBILENETV3_LARGE = [
    (0, 16, 1), (64, 24, 2), (72, 24, 1), (72, 40, 2), (120, 40, 1), (120, 40, 1), (240, 80, 2), (200, 80, 1),
    (184, 80, 1), (184, 80, 1), (480, 112, 1), (672, 112, 1), (672, 160, 2), (960, 160, 1), (960, 160, 1),
]  # fmt: skip
MOBILENETV3_SMALL = [
    (0, 16, 2), (72, 24, 2), (88, 24, 1), (96, 40, 2), (240, 40, 1), (240, 40, 1), (120, 48, 1), (144, 48, 1),
    (288, 96, 2), (576, 96, 1), (576, 96, 1),
]  # fmt: skip
PLAIN = {
    "timm mobilenetv2_100": (partial(timm.create_model, "mobilenetv2_100"), MOBILENETV2),
    "timm mobilenetv3_large_100": (partial(timm.create_model, "mobilenetv3_large_100"), MOBILENETV3_LARGE),
    # timm's first block is no inverted residual by class, but one without expansion all the same.
    "timm mnasnet_100": (partial(timm.create_model, "mnasnet_100"), [(0, 16, 1), *MNASNET]),
    "timm efficientnet_lite0": (partial(timm.create_model, "efficientnet_lite0"), EFFICIENTNET_B0),
    "timm efficientnet_b0": (partial(timm.create_model, "efficientnet_b0"), EFFICIENTNET_B0),
    "torchvision mobilenet_v2": (torchvision.models.mobilenet_v2, MOBILENETV2),
    "torchvision mobilenet_v3_small": (torchvision.models.mobilenet_v3_small, MOBILENETV3_SMALL),
    "torchvision mobilenet_v3_large": (torchvision.models.mobilenet_v3_large, MOBILENETV3_LARGE),
    "torchvision efficientnet_b0": (torchvision.models.efficientnet_b0, EFFICIENTNET_B0),
    "torchvision mnasnet0_5": (torchvision.models.mnasnet0_5, MNASNET_HALF),
}
# Networks of which some blocks have their expansion fused with the spatial convolution. The first pads as TensorFlow.
FUSED = {
    "timm tf_efficientnetv2_b0": partial(timm.create_model, "tf_efficientnetv2_b0"),
    "torchvision efficientnet_v2_s": torchvision.models.efficientnet_v2_s,
}
MAKERS = {**{name: make for name, (make, _) in PLAIN.items()}, **FUSED}
SIZE = (3, 64, 64)


def batch(seed=0):
    return torch.randn(2, *SIZE, generator=torch.Generator().manual_seed(seed))


@cache
def _original(name):
    torch.manual_seed(0)
    return with_history(MAKERS[name](), batch(seed=1)).requires_grad_(False)


def original(name):
    """A copy of the unconverted network, in evaluation mode; its batch norms have seen a batch."""
    return copy.deepcopy(_original(name)).requires_grad_()


def layers(block):
    """The three steps of an inverted residual block, each as a list of modules: expand, filter, project."""
    if hasattr(block, "conv_pwl"):
        expand, depthwise, project = (
            [block.conv_pw, block.bn1],
            [block.conv_dw, block.bn2, block.se],
            [block.conv_pwl, block.bn3],
        )
        return expand, depthwise, project
    sequence = list(next(m for m in block.children() if isinstance(m, nn.Sequential)))
    if isinstance(sequence[0], nn.Conv2d):  # MNASNet: convolution, norm, activation, twice, and once without activation
        return sequence[:3], sequence[3:6], sequence[6:]
    last = 2 if isinstance(sequence[-1], nn.BatchNorm2d) else 1  # MobileNetV2 keeps the last norm apart
    return sequence[:1], sequence[1:-last], sequence[-last:]


def run(modules, x):
    for module in modules:
        x = module(x)
    return x


def reference(block, x, expansion, projection, copies):
    """The block as the paper words it, from the layers of the unconverted one."""
    expand, depthwise, project = layers(block)
    hidden = (
        torch.stack([x[:, c // copies] for c in range(copies * x.shape[1])], dim=1)
        if expansion == "duplicate"
        else run(expand, x)
    )
    hidden = run(depthwise, hidden)
    if projection == "max":
        out = torch.stack(
            [hidden[:, c * copies : (c + 1) * copies].max(dim=1).values for c in range(x.shape[1])], dim=1
        )
    else:
        out = run(project, hidden)
    return out + x


def inputs_of(model, names, images):
    """What the named blocks read in a forward pass."""
    found = {}

    def note(name):
        return lambda _, inputs: found.__setitem__(name, inputs[0].clone())

    hooks = [model.get_submodule(name).register_forward_pre_hook(note(name)) for name in names]
    with torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()
    return found
