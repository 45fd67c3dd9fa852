"""Attached exits learn alone where the network is frozen, and with it where it is not."""

import pytest
import torch
from noise import CLASSES, train_batches
from safetensors.torch import save_file

from leannet import create_network
from leannet.models import attach_exits
from leannet.training import Recipe, Trainer, make_accelerator, make_network, train_network
from leannet_runtime import UserError

PLAIN = Recipe(epochs=1, batch_size=6, opt="sgd", lr=0.05, warmup_epochs=0)


def network(freeze):
    torch.manual_seed(0)
    plain = create_network("resnet20_cifar", num_classes=CLASSES)
    return attach_exits(plain, freeze=freeze, img_size=8)


def state_of(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def changed(module, before):
    return {name for name, tensor in module.state_dict().items() if not torch.equal(tensor, before[name])}


def train(model, **fields):
    recipe = Recipe(**{**vars(PLAIN), **fields})
    return train_network(Trainer(model, train_batches(), recipe, CLASSES, make_accelerator("cpu")))


@pytest.mark.parametrize("attached_frozen", [True, False])
@pytest.mark.parametrize("average", [True, False])
def test_frozen_the_exits_alone_learn(attached_frozen, average):
    """Bit by bit, statistics of batch norms and their counters included, weight decay or not."""
    model = network(attached_frozen)
    backbone, exits = state_of(model.backbone), state_of(model.exits)
    assert any("running_mean" in name for name in backbone)
    trained = train(model, freeze=True, weight_decay=0.1, model_ema=average)
    for each in (model, trained):
        assert changed(each.backbone, backbone) == set()
        assert changed(each.exits, exits) == exits.keys()
    assert all(weight.grad is None for weight in model.backbone.parameters())
    assert not any(weight.requires_grad for weight in model.backbone.parameters())
    assert all(weight.requires_grad for weight in model.exits.parameters())


def test_a_frozen_network_stays_what_it_was_in_a_loop_of_the_user():
    model = network(freeze=True)
    before = state_of(model.backbone)
    assert not model.backbone.training
    model.train()
    assert model.exits.training
    assert not any(module.training for module in model.backbone.modules())
    sum(logits.sum() for logits in model.forward_exits(torch.randn(4, 3, 8, 8))).backward()
    assert changed(model.backbone, before) == set()
    assert all(weight.grad is None for weight in model.backbone.parameters())
    assert all(weight.grad is not None for weight in model.exits.parameters())


@pytest.mark.parametrize("exit_loss", ["sum", "self_distillation", "scan"])
def test_together_everything_learns(exit_loss):
    model = network(freeze=False)
    before = state_of(model)
    train(model, exit_loss=exit_loss)
    assert changed(model, before) == before.keys()


def test_an_early_exit_teaches_the_stages_before_it():
    """A stage moves elsewhere than it would for the last exit alone."""
    alone = create_network("resnet20_cifar", num_classes=CLASSES)
    model = network(freeze=False)
    alone.load_state_dict(model.backbone.state_dict())
    train(alone, hflip=0.0)
    train(model, hflip=0.0)
    differ = changed(model.backbone, state_of(alone))
    assert "stages.0.0.conv1.weight" in differ


def test_a_classifier_that_nobody_has_trained_learns_with_the_exits():
    recipe = Recipe(exits="stages.0", freeze=True, img_size=8)
    fresh, _ = make_network("resnet20_cifar", tuple("abcdefgh"[:CLASSES]), recipe)
    before = state_of(fresh.backbone)
    train(fresh, freeze=True)
    assert changed(fresh.backbone, before) == {"head.fc.weight", "head.fc.bias"}


def test_weights_of_a_file_are_no_new_classifier(tmp_path):
    """Frozen, the answer of the network stays what the file made it."""
    plain = network(freeze=False).backbone
    save_file(plain.state_dict(), tmp_path / "weights.safetensors")
    recipe = Recipe(exits="stages.0", freeze=True, img_size=8)
    loaded, _ = make_network(
        "resnet20_cifar", tuple("abcdefgh"[:CLASSES]), recipe, str(tmp_path / "weights.safetensors")
    )
    assert loaded.trained_when_frozen == ("exits",)
    assert torch.equal(loaded.backbone.head.fc.weight, plain.head.fc.weight)


def test_options_without_an_effect_are_refused():
    names = tuple("abc")
    with pytest.raises(UserError, match="resnet20_cifar has no exits"):
        make_network("resnet20_cifar", names, Recipe(exit_loss="scan", img_size=8))
    with pytest.raises(UserError, match="heads are chosen where exits are attached"):
        make_network("emgnet56_cifar", names, Recipe(exit_head="attention", img_size=8))
    make_network(
        "resnet20_cifar",
        names,
        Recipe(exits="0", exit_head="linear", exit_loss="scan", exit_feature_weight=0.0, img_size=8),
    )


def test_checkpointing_gives_the_same_gradients():
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    found = []
    for enabled in (False, True):
        model = network(freeze=False).train()
        model.set_grad_checkpointing(enabled)
        calls = []
        model.backbone.stages[0].register_forward_pre_hook(lambda *_, calls=calls: calls.append(1))
        sum(logits.square().sum() for logits in model.forward_exits(images)).backward()
        found.append((len(calls), [p.grad.clone() for p in model.parameters() if p.grad is not None]))
    assert (found[0][0], found[1][0]) == (1, 2)
    for plain, recomputed in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(plain, recomputed)
