"""The profile of a network: its layers add up to its totals, and the totals are those of independent counts."""

import pytest
import timm
import torch
from torch import nn

from leannet.measure import count_macs, count_parameters, peak_activation_bytes, profile_network

SIZE = (3, 64, 64)


def elements_of_layers(model, kinds=(nn.Conv2d, nn.Linear)):
    total = 0

    def note(_, __, output):
        nonlocal total
        total += output.numel()

    hooks = [m.register_forward_hook(note) for m in model.modules() if isinstance(m, kinds)]
    with torch.no_grad():
        model.eval()(torch.zeros(1, *SIZE))
    for hook in hooks:
        hook.remove()
    return total


@pytest.mark.parametrize(
    "name", ["sm_v2", "efficientnet_b0_dmp", "mobilenetv2_optimised", "resnet20_cifar", "resnet18"]
)
def test_layers_add_up_to_the_totals(name):
    model = timm.create_model(name, num_classes=7)
    profile = profile_network(model, SIZE)
    assert sum(layer.macs for layer in profile.layers) == profile.macs
    assert sum(layer.parameters for layer in profile.layers) == profile.parameters == count_parameters(model)
    assert profile.macs == count_macs(model, torch.zeros(1, *SIZE)).total
    assert profile.peak_activation_bytes == peak_activation_bytes(model, torch.zeros(1, *SIZE))
    assert profile.activations == elements_of_layers(model)
    assert profile.weight_bytes == sum(t.numel() * t.element_size() for t in model.state_dict().values())
    assert profile.uncounted == ()
    assert len({layer.name for layer in profile.layers}) == len(profile.layers)


@pytest.mark.parametrize("name", ["tf_mobilenetv3_small_minimal_100", "resnetv2_50"])
def test_activations_of_timm_networks(name):
    model = timm.create_model(name)
    assert profile_network(model, SIZE).activations == elements_of_layers(model)


def test_activations_of_convolutions_by_another_name():
    model = timm.create_model("resnetv2_50x1_bit", num_classes=7)
    assert profile_network(model, SIZE).activations == elements_of_layers(model)


def test_layers_stand_in_the_order_in_which_they_run():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.last = nn.Linear(4, 2)
            self.first = nn.Conv2d(3, 4, 3, stride=2, padding=1)

        def forward(self, x):
            return self.last(self.first(x).mean(dim=(2, 3)))

    first, last = profile_network(Backwards(), (3, 8, 8)).layers
    assert (first.name, first.kind, first.output_shape) == ("first", "Conv2d", (1, 4, 4, 4))
    assert (first.parameters, first.macs) == (3 * 4 * 9 + 4, 3 * 4 * 9 * 16)
    assert (last.name, last.kind, last.output_shape, last.parameters, last.macs) == ("last", "Linear", (1, 2), 10, 8)


def test_profile_by_hand():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.Identity(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    )
    profile = profile_network(model, (3, 6, 10))
    assert profile.parameters == 3 * 8 * 9 + 16 + 45
    assert profile.macs == 3 * 8 * 9 * 60 + 40
    assert profile.activations == 8 * 60 + 5
    # The image, the answer of the convolution and that of the batch norm.
    assert profile.peak_activation_bytes == 4 * (3 + 8 + 8) * 60
    # Mean and variance, and a 64-bit counter of batches.
    assert profile.weight_bytes == 4 * (profile.parameters + 16) + 8
    kinds = [layer.kind for layer in profile.layers]
    assert kinds == ["Conv2d", "BatchNorm2d", "ReLU", "AdaptiveAvgPool2d", "Flatten", "Linear"]


def test_the_network_is_left_as_it_was():
    model = timm.create_model("resnet20_cifar", num_classes=7).train()
    model.stages[1].eval()
    modes = [module.training for module in model.modules()]
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    profile_network(model, (3, 32, 32))
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_batch_norm_with_its_activation_is_one_layer():
    layers = profile_network(timm.create_model("mobilenetv2_035"), SIZE).layers
    norm = next(layer for layer in layers if layer.name == "bn1")
    assert (norm.kind, norm.parameters, norm.macs) == ("BatchNormAct2d", 32, 0)


def test_what_is_not_counted_is_passed_on():
    class Spectrum(nn.Module):
        def forward(self, x):
            return torch.fft.fft2(x).real

    assert profile_network(Spectrum(), (3, 8, 8)).uncounted
