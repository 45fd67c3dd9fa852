"""The networks with several exits, and gates of which some are open and some closed."""

from contextlib import contextmanager

import pytest
import torch
from registered_networks import make, with_history

from leannet.blocks import ChannelGate
from leannet.models import AllExits

SMALL = ("emgnet56_cifar", "sdresnet56_cifar", "scanresnet56_cifar")
LARGE = ("emgnet50", "sdresnet50", "scanresnet50")
every_exit_network = pytest.mark.parametrize("name", [*SMALL, *LARGE])


def noise(name, batch=3, size=None, seed=0):
    """Images of 16 pixels, or of 64 for the networks with ResNet-50's stem."""
    size = size or ((16, 16) if name in SMALL else (64, 64))
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(seed))


def exit_network(name, size=None, **arguments):
    """A network whose norms have seen images at every exit, with open and closed gates; in evaluation mode."""
    network = make(name, **arguments)
    with_history(AllExits(network), noise(name, batch=4, size=size, seed=1))
    half_open(network, noise(name, size=size))
    return network.requires_grad_(False).eval()


def half_open(network, images):
    """Set every threshold to what the gate sees on average, so that these images fall on both sides."""

    def settle(gate, inputs):
        gate.threshold.data = inputs[0].abs().mean(dim=(0, 2, 3))

    gates = [module for module in network.modules() if isinstance(module, ChannelGate)]
    hooks = [gate.register_forward_pre_hook(settle) for gate in gates]
    with torch.no_grad():
        network.eval()(images)
    for hook in hooks:
        hook.remove()


@contextmanager
def decisions_read(network):
    """Note what every gate decides, by the name of its layer: a list of a tensor (N, C) for each call."""
    read, hooks = {}, []
    for name, module in network.named_modules():
        if isinstance(module, ChannelGate):
            calls = read.setdefault(name.removesuffix(".gate"), [])
            hooks.append(module.register_forward_hook(lambda _, __, out, calls=calls: calls.append(out[:, :, 0, 0])))
    yield read
    for hook in hooks:
        hook.remove()
