"""EMGNet's module, held against loops over samples and channels that convolve with both kernels apart."""

import math

import numpy as np
import pytest
import torch
from naive_multi_scale import features, half_open, mixed, surrogate
from torch import nn

from leannet.blocks import ChannelGate, EMGModule, MultiScaleConv2d, SurrogateStep, gate_regularisation

FORMS = {
    "as in the paper": {"channels": 6},
    "groups": {"channels": 6, "groups": 2},
    "one group": {"channels": 4, "groups": 1},
    "larger": {"channels": 3, "kernel_size": 7},
    "ring of two": {"channels": 4, "kernel_size": 7, "inner_size": 5, "groups": 2},
    "centre of one": {"channels": 3, "kernel_size": 3, "inner_size": 1},
}
every_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
SIZES = [(7, 4), (5, 5), (2, 9), (1, 1)]


def images(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def layer_of(x, **form):
    """A layer with random weights, half of whose gates are open on these images."""
    torch.manual_seed(0)
    layer = MultiScaleConv2d(**form).double()
    inner, _ = features(layer, x)
    half_open(layer, inner)
    return layer


@every_form
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_ring_is_added_where_the_gate_is_open(form, size):
    x = images(4, form["channels"], *size)
    layer = layer_of(x, **form)
    expected, decisions = mixed(layer, x)
    assert 0 < decisions.sum() < decisions.size
    np.testing.assert_allclose(layer(x).detach(), expected, atol=1e-12)
    found = layer.gate(torch.from_numpy(features(layer, x)[0]))
    assert np.array_equal(found.flatten(1).detach(), decisions)


@every_form
def test_gates_can_be_fixed(form):
    x = images(2, form["channels"], 7, 4)
    layer = layer_of(x, **form)
    inner, outer = features(layer, x)
    for gates, expected in (("open", inner + outer), ("closed", inner)):
        layer.gates = gates
        np.testing.assert_allclose(layer(x).detach(), expected, atol=1e-12)


def test_at_first_all_gates_are_open():
    layer, x = MultiScaleConv2d(6).double(), images(2, 6, 7, 4)
    assert layer.gate.threshold.tolist() == [0] * 6
    whole = nn.functional.conv2d(x, layer.weight, padding=2, groups=6)
    torch.testing.assert_close(layer(x), whole)
    assert set(layer.state_dict()) == {"weight", "gate.threshold"}


def test_a_gate_is_open_exactly_where_the_mean_reaches_the_threshold():
    # The mean of the absolute values is 0.5, 0.75 and 0 without rounding.
    maps = torch.tensor([[0.5, -0.5, 0.25, -0.75], [0.75, 0.75, -0.75, 0.75], [0.0, 0.0, 0.0, 0.0]]).double()
    gate = ChannelGate(3).double()
    for shift, expected in ((0, [1, 1, 1]), (1e-9, [0, 0, 0]), (-1e-9, [1, 1, 1])):
        gate.threshold.data = torch.tensor([0.5, 0.75, 0.0]).double() + shift
        decisions = gate(maps.reshape(1, 3, 2, 2))
        assert decisions.shape == (1, 3, 1, 1)
        assert decisions.flatten().tolist() == expected
    gate.threshold.data = torch.tensor([0.6, 0.6, 0.6]).double()
    assert gate(maps.reshape(1, 3, 2, 2)).flatten().tolist() == [0, 1, 0]


POINTS = [*np.linspace(-1.5, 1.5, 121), *(sign * edge for sign in (1, -1) for edge in (0.0, 0.4, 1.0))]
BESIDE = [np.nextafter(edge, end) for edge in (-1.0, -0.4, 0.0, 0.4, 1.0) for end in (-2, 2)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_step_and_its_surrogate(dtype):
    points = [*POINTS, *BESIDE] if dtype == torch.float64 else [x for x in POINTS if abs(abs(x) - 1) > 1e-6]
    x = torch.tensor(points, dtype=dtype, requires_grad=True)
    step = SurrogateStep.apply(x)
    assert step.dtype == dtype
    assert step.tolist() == [float(point >= 0) for point in points]
    incoming = torch.linspace(-3, 3, len(points), dtype=dtype)
    step.backward(incoming)
    expected = [surrogate(point) * weight for point, weight in zip(points, incoming.tolist(), strict=True)]
    np.testing.assert_allclose(x.grad, expected, rtol=1e-5 if dtype == torch.float32 else 1e-12)


@every_form
@pytest.mark.parametrize("gates", ["open", "closed"])
def test_gradients_with_fixed_gates(form, gates):
    x = images(2, form["channels"], 5, 4).requires_grad_()
    layer = layer_of(x.detach(), **form)
    layer.gates = gates

    def of(x, weight):
        return torch.func.functional_call(layer, {"weight": weight}, x)

    assert torch.autograd.gradcheck(of, (x, layer.weight))


def differences(function, array, size=1e-6):
    """The gradient of a number by central differences."""
    gradient = np.zeros_like(array)
    for place in np.ndindex(array.shape):
        kept = array[place]
        array[place] = kept + size
        above = function()
        array[place] = kept - size
        gradient[place] = (above - function()) / (2 * size)
        array[place] = kept
    return gradient


@pytest.mark.parametrize(
    "form",
    [{"channels": 3}, {"channels": 4, "kernel_size": 3, "inner_size": 1, "groups": 2}],
    ids=["as in the paper", "groups"],
)
def test_gradients_go_through_the_features_and_through_the_decisions(form):
    """dL/dD is the ring's features; from D it goes on by the surrogate and the slope of the sigmoid."""
    x = images(2, form["channels"], 4, 3)
    layer = layer_of(x, **form)
    incoming = images(*x.shape, seed=1)
    x.requires_grad_()
    layer(x).backward(incoming)

    inner, outer = features(layer, x.detach())
    decisions = mixed(layer, x.detach())[1]
    assert 0 < decisions.sum() < decisions.size
    margin = np.abs(inner).mean(axis=(2, 3)) - layer.gate.threshold.detach().numpy()
    sigmoid = 1 / (1 + np.exp(-margin))
    through = (incoming.numpy() * outer).sum(axis=(2, 3))  # dL/dD
    through = through * np.vectorize(surrogate)(sigmoid - 0.5) * sigmoid * (1 - sigmoid)
    np.testing.assert_allclose(layer.gate.threshold.grad, -through.sum(axis=0), rtol=1e-9)

    def loss():
        inner, outer = features(layer, x.detach())
        direct = (incoming.numpy() * (inner + decisions[..., None, None] * outer)).sum()
        return direct + (through * np.abs(inner).mean(axis=(2, 3))).sum()

    for tensor in (x, layer.weight):
        np.testing.assert_allclose(tensor.grad, differences(loss, tensor.detach().numpy()), atol=1e-7)


def module_with_history(x, channels=6, stride=1):
    """A module in evaluation mode with statistics of its own, half of whose gates are open on these images."""
    torch.manual_seed(0)
    module = EMGModule(x.shape[1], channels, stride).double().eval()
    for norm in (module.pointwise_norm, module.multi_scale_norm):
        for tensor in (norm.running_mean, norm.weight.data, norm.bias.data):
            tensor.normal_()
        norm.running_var.uniform_(0.5, 2)
    half_open(module.multi_scale, features(module.multi_scale, pointwise_of(module, x))[0])
    return module


def normalised(norm, maps):
    values = [tensor.detach().numpy() for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias)]
    mean, variance, scale, shift = (value[:, None, None] for value in values)
    return (maps - mean) / np.sqrt(variance + norm.eps) * scale + shift


def pointwise_of(module, x):
    """Y': of every stride-th position the weighted sums of the channels, normalised, not below zero."""
    stride = module.pointwise.stride[0]
    weight = module.pointwise.weight[:, :, 0, 0].detach().numpy()
    sums = np.einsum("oc,nchw->nohw", weight, x[:, :, ::stride, ::stride].numpy())
    return torch.from_numpy(np.maximum(normalised(module.pointwise_norm, sums), 0))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_module_concatenates_features_of_three_scales(stride, size):
    x = images(4, 5, *size)
    module = module_with_history(x, stride=stride)
    pointwise = pointwise_of(module, x)
    multi_scale, decisions = mixed(module.multi_scale, pointwise)
    assert 0 < decisions.sum() < decisions.size
    expected = np.concatenate([pointwise, normalised(module.multi_scale_norm, multi_scale)], axis=1)
    found = module(x)
    assert found.shape == (4, 6, math.ceil(size[0] / stride), math.ceil(size[1] / stride))
    np.testing.assert_allclose(found.detach(), expected, atol=1e-12)


@pytest.mark.parametrize("training", [False, True])
def test_channels_last_equals_contiguous(training):
    x = images(4, 5, 7, 6)
    answers = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        module = module_with_history(x, channels=8).train(training).to(memory_format=memory_format)
        batch = x.detach().to(memory_format=memory_format).requires_grad_()
        answer = module(batch)
        answer.backward(images(*answer.shape, seed=1))
        answers.append([answer, batch.grad, *(parameter.grad for parameter in module.parameters())])
    for one, other in zip(*answers, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated")
def test_torchscript_decides_equally():
    x = images(4, 5, 7, 6)
    module = module_with_history(x)
    torch.testing.assert_close(torch.jit.script(module)(x), module(x))


def test_what_is_counted_is_the_whole_kernel():
    x = images(2, 6, 5, 5)
    layer = layer_of(x, channels=6)
    inner, outer = features(layer, x)
    with layer.counted_form():
        assert layer.gates == "open"
        np.testing.assert_allclose(layer(x).detach(), inner + outer, atol=1e-12)
    assert layer.gates == "learned"
    layer.gates = "closed"
    with layer.counted_form():
        assert layer.gates == "closed"  # whoever set the gates counts what he set
    assert layer.gates == "closed"


def test_the_gates_decide_again_after_a_count_that_failed():
    layer = MultiScaleConv2d(6)
    with pytest.raises(RuntimeError, match="channels"), layer.counted_form():
        layer(torch.zeros(1, 5, 4, 4))
    assert layer.gates == "learned"


@pytest.mark.parametrize(
    ("form", "macs"),
    [("as in the paper", 16), ("groups", 16 * 3), ("one group", 16 * 4), ("larger", 40), ("ring of two", 24 * 2)],
)
def test_what_an_open_gate_costs(form, macs):
    assert MultiScaleConv2d(**FORMS[form]).ring_macs == macs


@pytest.mark.parametrize(("kernel_size", "inner_size"), [(4, 3), (5, 2), (3, 3), (3, 5), (6, 4)])
def test_a_kernel_without_a_centre_is_refused(kernel_size, inner_size):
    with pytest.raises(ValueError, match=f"kernel of {kernel_size} has no centre of {inner_size}"):
        MultiScaleConv2d(4, kernel_size, inner_size)


def test_an_odd_number_of_channels_is_refused():
    with pytest.raises(ValueError, match="7 channels"):
        EMGModule(4, 7)


def test_regularisation_of_the_gates():
    network = nn.Sequential(EMGModule(3, 4), nn.ReLU(), nn.Sequential(MultiScaleConv2d(4), nn.BatchNorm2d(4)))
    thresholds = [[0.5, -1.25], [0.0, 2.0, -0.125, 3.5]]
    gates = [module for module in network.modules() if isinstance(module, ChannelGate)]
    for gate, values in zip(gates, thresholds, strict=True):
        gate.threshold.data = torch.tensor(values)
    total = gate_regularisation(network)
    assert total.item() == pytest.approx(sum(math.exp(-t) for values in thresholds for t in values))
    total.backward()
    for gate, values in zip(gates, thresholds, strict=True):
        assert gate.threshold.grad.tolist() == pytest.approx([-math.exp(-t) for t in values])
    assert gate_regularisation(nn.Conv2d(3, 3, 1)).item() == 0
