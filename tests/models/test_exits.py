"""Networks with several exits: one by one or at once, each answers the same; their heads, forms and folders."""

from functools import cache

import pytest
import timm
import torch
from registered_networks import CLASSES, make
from several_exits import LARGE, SMALL, decisions_read, every_exit_network, exit_network, noise
from torch import nn

from leannet import UserError, create_network, leannet_networks
from leannet.models import AllExits, ExitLogits, has_exits
from leannet.models.parts.exit_heads import EXIT_HEADS, make_exit_head
from leannet.training import save_model_folder
from leannet_runtime import Preprocessing

network = cache(exit_network)  # only read


def test_these_are_the_networks_with_exits():
    assert {name for name in leannet_networks() if has_exits(make(name))} == {*SMALL, *LARGE}
    assert not has_exits(timm.create_model("resnet18"))


@every_exit_network
def test_forward_is_the_last_exit(name):
    model, batch = network(name), noise(name)
    logits = model.forward_exits(batch)
    assert model.num_exits == len(logits) == 3
    assert torch.equal(model(batch), logits[-1])
    for number, one in enumerate(logits):
        assert one.shape == (3, CLASSES)
        assert (one[0] - one[1]).abs().max() > 1e-2, "an exit that answers its bias would pass all else here"
        assert not any(torch.allclose(one, other, atol=1e-2) for other in logits[:number])
    stacked = ExitLogits(model)(batch)
    assert torch.equal(stacked, torch.stack(logits, dim=1))


def test_of_a_network_without_exits_there_is_one_answer():
    model, batch = timm.create_model("test_resnet", num_classes=5).eval(), noise(LARGE[0])
    assert torch.equal(ExitLogits(model)(batch), model(batch)[:, None])


@every_exit_network
def test_segments_run_by_hand_give_the_same(name):
    """Stem, stages, heads, in the order in which a reader of the paper would call them."""
    model, x = network(name), noise(name)
    expected, maps = AllExits(model)(x)
    stages = list(model.stages)
    first = len(stages) - 2  # stages up to the first exit
    by_hand, segments = model.stem(x), x
    for number, part in enumerate((stages[:first], *([stage] for stage in stages[first:]))):
        for stage in part:
            by_hand = stage(by_hand)
        segments = model.run_segment(number, segments)
        assert torch.equal(segments, by_hand)
        pooled = by_hand if number == 2 else model.exits[number].transform(by_hand)
        assert torch.equal(maps[number], pooled)
        linear = model.head.fc if number == 2 else model.exits[number].classifier.fc
        torch.testing.assert_close(expected[number], linear(pooled.mean(dim=(2, 3))))
        assert torch.equal(model.exit_logits(number, segments), expected[number])


@every_exit_network
def test_an_early_exit_runs_no_later_stage(name):
    model = network(name)
    called = []
    hooks = [stage.register_forward_hook(lambda m, *_: called.append(m)) for stage in model.stages]
    model.exit_logits(0, model.run_segment(0, noise(name)))
    for hook in hooks:
        hook.remove()
    assert called == list(model.stages)[:-2]


@every_exit_network
@pytest.mark.parametrize("size", [(0, 0), (1, 7), (5, 2)], ids=str)
def test_classifiers_pool_maps_of_one_shape(name, size):
    """Whatever the size of the images; distillation compares the maps."""
    batch = noise(name, size=[side + more for side, more in zip(noise(name).shape[2:], size, strict=True)])
    logits, maps = AllExits(network(name))(batch)
    assert {tuple(each.shape) for each in maps} == {tuple(maps[-1].shape)}
    assert maps[-1].shape[1] == network(name).num_features
    assert all(each.isfinite().all() for each in logits)


@every_exit_network
def test_the_classifiers_of_all_exits_are_replaced(name):
    model, batch = exit_network(name), noise(name)
    _, maps = AllExits(model)(batch)
    model.reset_classifier(5)
    assert model.num_classes == 5
    others, other_maps = AllExits(model)(batch)
    assert [tuple(each.shape) for each in others] == [(3, 5)] * 3
    for one, other in zip(maps, other_maps, strict=True):
        assert torch.equal(one, other)
    model.reset_classifier(0)
    for pooled, each in zip(model.forward_exits(batch), maps, strict=True):
        torch.testing.assert_close(pooled, each.mean(dim=(2, 3)))


@pytest.mark.parametrize("name", SMALL)
def test_checkpointing_leaves_the_gradients_as_they_are(name):
    """In `forward` too, which goes another way than the exits."""
    found = []
    for checkpointing in (False, True):
        model = exit_network(name).train().requires_grad_(True)
        model.set_grad_checkpointing(checkpointing)
        model(noise(name)).square().sum().backward()
        found.append({key: p.grad for key, p in model.named_parameters() if not key.startswith("exits.")})
    for key, gradient in found[0].items():
        assert (found[1][key] - gradient).abs().max() <= 1e-5 * max(1.0, gradient.abs().max()), key


KINDS = [kind for kind in EXIT_HEADS if kind != "linear"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("factor", [1, 2, 4])
@pytest.mark.parametrize("size", [(8, 8), (7, 5), (9, 3), (1, 2)], ids=str)
def test_heads_bring_maps_to_the_shape_of_the_last_stage(kind, factor, size):
    torch.manual_seed(0)
    head = make_exit_head(kind, 6, factor, 20, CLASSES).eval()
    last = torch.randn(2, 6, *size)
    for _ in range(factor.bit_length() - 1):  # as ResNet's stages reduce the resolution
        last = nn.Conv2d(6, 6, 3, stride=2, padding=1)(last)
    x = torch.randn(2, 6, *size)
    assert head.transform(x).shape == (2, 20, *last.shape[2:])
    torch.testing.assert_close(head(x), head.classifier.fc(head.transform(x).mean(dim=(2, 3))))


def test_a_linear_head_is_pooling_and_a_linear_layer():
    head, x = make_exit_head("linear", 6, 4, 20, CLASSES), torch.randn(2, 6, 7, 5)
    assert [type(m) for m in head.modules() if list(m.parameters(recurse=False))] == [nn.Linear]
    torch.testing.assert_close(head(x), head.classifier.fc(x.mean(dim=(2, 3))))


def test_the_head_of_scan_weighs_the_features_between_nothing_and_all():
    """Its attention is a factor between 0 and 1 for every value of the map."""
    head, x = make_exit_head("attention", 6, 2, 20, CLASSES).eval(), torch.rand(2, 6, 7, 5) + 0.5
    share = head.transform[0](x) / x
    assert 0 < share.min() < share.max() < 1


def test_heads_have_dropout_in_training_only():
    head = make_exit_head("simple", 6, 2, 20, 0, drop_rate=0.5)
    head.transform = nn.Identity()
    x = torch.ones(4, 20, 1, 1)
    assert set(head.train()(x).unique().tolist()) == {0.0, 2.0}
    assert torch.equal(head.eval()(x), torch.ones(4, 20))


def test_an_unknown_head_is_refused():
    with pytest.raises(UserError) as refusal:
        make_exit_head("magic", 6, 2, 20, CLASSES)
    message = str(refusal.value)
    assert "magic" in message
    assert all(kind in message for kind in EXIT_HEADS)


@pytest.mark.parametrize("kind", EXIT_HEADS)
def test_a_network_takes_the_head_of_another(kind):
    model = make("emgnet56_cifar", exit_head=kind).eval()
    assert [tuple(each.shape) for each in model.forward_exits(noise("emgnet56_cifar"))] == [(3, CLASSES)] * 3


@pytest.mark.parametrize("name", LARGE)
def test_the_small_form_has_a_quarter_of_the_stride_and_the_same_weights(name):
    small = create_network(name, num_classes=CLASSES, img_size=32).eval()
    assert [feature["reduction"] for feature in small.feature_info] == [1, 2, 4, 8]
    logits, maps = AllExits(small)(torch.randn(1, 3, 32, 32))
    assert [tuple(each.shape[2:]) for each in maps] == [(4, 4)] * 3
    assert all(each.isfinite().all() for each in logits)
    small.load_state_dict(network(name).state_dict())


@pytest.mark.parametrize("form", [*SMALL, *LARGE, "emgnet50-small"])
def test_a_model_folder_keeps_every_exit_and_gate(form, tmp_path):
    name, _, small = form.partition("-")
    size = (16, 16) if small else None
    model, batch = exit_network(name, size, **({"small_input": True} if small else {})), noise(name, size=size)
    save_model_folder(model, tmp_path, tuple(f"class {number}" for number in range(CLASSES)), Preprocessing(16))
    loaded = create_network(str(tmp_path)).eval()
    with decisions_read(model) as ours, decisions_read(loaded) as theirs:
        for one, other in zip(loaded.forward_exits(batch), model.forward_exits(batch), strict=True):
            assert torch.equal(one, other)
    assert ours.keys() == theirs.keys()
    assert bool(ours) == name.startswith("emgnet")
    for layer, (decisions,) in ours.items():
        assert torch.equal(decisions, theirs[layer][0])
    if ours:
        assert 0.2 < torch.cat([decisions[0].flatten() for decisions in ours.values()]).mean() < 0.8


@every_exit_network
def test_a_feature_extractor_has_no_exits(name):
    backbone = make(name, features_only=True).eval()
    assert not [key for key in backbone.state_dict() if "exits" in key]
    assert len(backbone(noise(name))) == len(network(name).stages)


def test_exits_go_with_the_stages_that_they_need():
    model, batch = exit_network("emgnet56_cifar"), noise("emgnet56_cifar")
    expected = model.forward_exits(batch)
    model.prune_intermediate_layers([2], prune_head=False)  # nothing stands after the last stage
    assert all(torch.equal(one, other) for one, other in zip(model.forward_exits(batch), expected, strict=True))
    model.prune_intermediate_layers([1], prune_head=False)
    assert not has_exits(model)
    assert torch.equal(model.forward_exits(batch)[0], model(batch))
