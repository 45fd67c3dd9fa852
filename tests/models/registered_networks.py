"""Every network of leannet, small enough to be tested: the tests of the registry walk this list."""

import copy
from functools import cache

import pytest
import timm
import torch
from timm.models import get_pretrained_cfg, model_entrypoint
from torch import nn

from leannet import leannet_networks

NETWORKS = leannet_networks()
CLASSES = 7

every_network = pytest.mark.parametrize("name", NETWORKS)


def one_per_family():
    """The network of the shortest name of each file, for checks that take long and hang on the family only."""
    shortest = {}
    for name in sorted(NETWORKS, key=lambda name: (len(name), name)):
        shortest.setdefault(model_entrypoint(name).__module__, name)
    return sorted(shortest.values())


def has_fixed_size(name):
    return bool(get_pretrained_cfg(name).fixed_input_size)


def side(name):
    """64 pixels, or the network's own size where that is smaller or the only one."""
    own = get_pretrained_cfg(name).input_size[-1]
    return own if has_fixed_size(name) else min(own, 64)


def images(name, batch=2, channels=3, seed=0):
    size = side(name)
    return torch.randn(batch, channels, size, size, generator=torch.Generator().manual_seed(seed))


def make(name, **arguments):
    """A network of a few classes; the same arguments give the same weights."""
    return _made(name, **arguments) if arguments else copy.deepcopy(_plain(name))


def _made(name, **arguments):
    torch.manual_seed(0)
    return timm.create_model(name, **{"num_classes": CLASSES, **arguments})


# A copy is made in a fraction of the time that drawing the weights takes.
_plain = cache(_made)


def with_history(model, batch):
    """Let the batch norms see a batch, so that in evaluation mode the values keep their size through the layers."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(batch)
    for norm in norms:
        norm.momentum = 0.1
    return model.eval()


@cache
def network(name):
    """A network in evaluation mode that is only read."""
    return with_history(make(name), images(name, batch=8, seed=1)).requires_grad_(False)


def classifiers(model):
    """Names of the linear layers that answer; of a network with exits the last one's first."""
    named = model.pretrained_cfg["classifier"]
    return (named,) if isinstance(named, str) else tuple(named)


def feature_maps(model, batch):
    """What every module of `feature_info` answers, in order."""
    maps = {}

    def note(name):
        # A copy, since what follows may work in place.
        return lambda _, __, out: maps.__setitem__(name, out.clone())

    names = [feature["module"] for feature in model.feature_info]
    hooks = [model.get_submodule(name).register_forward_hook(note(name)) for name in names]
    with torch.no_grad():
        model(batch)
    for hook in hooks:
        hook.remove()
    return [maps[name] for name in names]


def features_only(whole, name, **arguments):
    """The feature extractor that timm makes of a network, with the weights of the whole one."""
    backbone = make(name, features_only=True, **arguments).eval()
    prefix = "model." if hasattr(backbone, "model") else ""
    weights = {prefix + key: tensor for key, tensor in whole.state_dict().items()}
    backbone.load_state_dict({key: weights[key] for key in backbone.state_dict()})
    return backbone.requires_grad_(False)
