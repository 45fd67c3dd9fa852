"""What training asks of every network of leannet: gradients, checkpointing, parameter groups, copies."""

import copy

import pytest
import timm.optim
import torch
from registered_networks import classifiers, every_network, images, make, network
from timm.models import group_parameters
from timm.utils import ModelEmaV3
from torch import nn

from leannet.models import has_exits


def gradients(model, batch):
    answers = model.forward_exits(batch) if has_exits(model) else [model(batch)]
    loss = sum(answer.square().mean() for answer in answers)
    loss.backward()
    return loss.detach(), {key: parameter.grad for key, parameter in model.named_parameters()}


@every_network
def test_every_parameter_is_trained(name):
    model = make(name).train()
    for parameter in model.parameters():
        # What lies before a norm that begins with zero learns from the second step on.
        if parameter.ndim and not parameter.any():
            nn.init.constant_(parameter, 0.1)
    _, found = gradients(model, images(name, batch=4))
    assert [key for key, gradient in found.items() if gradient is None] == []
    assert [key for key, gradient in found.items() if not gradient.isfinite().all()] == []
    # A bias that a batch norm follows has no influence, so that its gradient is zero but for rounding.
    weights = {key: gradient.abs().max().item() for key, gradient in found.items() if key.endswith("weight")}
    assert len(weights) > 10
    assert [key for key, largest in weights.items() if largest < 1e-6] == []


@every_network
def test_checkpointing_gives_the_same_gradients_and_recomputes(name):
    batch = images(name, batch=4)
    plain, checkpointed = make(name).train(), make(name).train()
    checkpointed.set_grad_checkpointing()
    calls = {}
    for key, model in (("plain", plain), ("checkpointed", checkpointed)):
        calls[key] = 0

        def count(*_, key=key):
            calls[key] += 1

        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(count)
    loss, expected = gradients(plain, batch)
    other_loss, found = gradients(checkpointed, batch)
    assert calls["checkpointed"] > 1.5 * calls["plain"]
    torch.testing.assert_close(other_loss, loss)
    for key, gradient in expected.items():
        # Relative to the largest one, since what is zero but for rounding has no digits to compare.
        assert (found[key] - gradient).abs().max() <= 1e-5 * max(1.0, gradient.abs().max()), key


@every_network
def test_checkpointing_can_be_switched_off(name):
    model = make(name).train()
    model.set_grad_checkpointing()
    model.set_grad_checkpointing(False)
    calls = []
    next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d)).register_forward_hook(lambda *_: calls.append(1))
    gradients(model, images(name))
    assert calls == [1]


@every_network
def test_layers_get_learning_rates_that_fall_from_head_to_stem(name):
    model = make(name)
    optimizer = timm.optim.create_optimizer_v2(model, opt="adamw", lr=0.1, layer_decay=0.9)
    scales = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            scales[id(parameter)] = group["lr_scale"]
    assert scales.keys() == {id(parameter) for parameter in model.parameters()}
    facts = model.pretrained_cfg
    assert all(scales[id(model.get_submodule(classifier).weight)] == 1 for classifier in classifiers(model))
    first = scales[id(model.get_submodule(facts["first_conv"]).weight)]
    assert first == min(scales.values())
    assert len(set(scales.values())) > 5


@every_network
@pytest.mark.parametrize("coarse", [False, True])
def test_parameters_are_grouped_in_the_order_in_which_they_are_used(name, coarse):
    model = make(name)
    groups = group_parameters(model, model.group_matcher(coarse=coarse), reverse=True)
    keys = [key for key, _ in model.named_parameters()]
    assert sorted(groups) == sorted(keys)
    facts = model.pretrained_cfg
    assert groups[f"{facts['first_conv']}.weight"] == 0
    assert {groups[f"{classifier}.weight"] for classifier in classifiers(model)} == {max(groups.values())}
    assert [groups[key] for key in keys] == sorted(groups.values())


@every_network
def test_weights_go_from_one_network_to_another(name):
    source, batch = network(name), images(name)
    torch.manual_seed(1)
    other = make(name).eval()
    for tensor in other.state_dict().values():
        tensor.zero_()
    other.load_state_dict(source.state_dict())
    with torch.no_grad():
        assert torch.equal(other(batch), source(batch))


@every_network
def test_a_copy_is_independent(name):
    batch = images(name)
    twin = copy.deepcopy(network(name))
    assert torch.equal(twin(batch), network(name)(batch))
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.mul_(2)
    assert not torch.equal(twin(batch), network(name)(batch))


@every_network
def test_a_running_mean_of_the_weights_can_be_kept(name):
    model = make(name)
    before = {key: tensor.clone() for key, tensor in model.named_parameters()}
    averaged = ModelEmaV3(model, decay=0.75)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    averaged.update(model)
    for key, tensor in averaged.module.named_parameters():
        torch.testing.assert_close(tensor, 0.75 * before[key] + 0.25 * 1.1 * before[key])
    with torch.no_grad():
        assert averaged.module.eval()(images(name)).isfinite().all()
