"""Exits beside a network that has none: its answer stays, and the exits read what timm says are its stages."""

import copy
import re

import pytest
import timm
import torch
from torch import nn

from leannet import UserError, create_network
from leannet.measure import count_macs
from leannet.models import AttachedExits, attach_exits, has_exits

CLASSES = 5
# Name, side of the images, and the first and the third of its stages in timm's feature_info.
NETWORKS = {
    "mobilenetv2_100": (64, "blocks.0", "blocks.2"),
    "efficientnet_b0_dmp": (64, "blocks.0", "blocks.2"),
    "resnet18": (64, "act1", "layer2"),
    "convnext_atto": (64, "stages.0", "stages.2"),
    "sm_v2": (64, "blocks.0", "blocks.2"),
    "mobilenetv3_small_100": (64, "bn1", "blocks.1"),
    "regnety_002": (64, "stem", "s2"),
    "ghostnet_100": (64, "conv_stem", "blocks.3"),
    "densenet121": (64, "features.norm0", "features.denseblock2"),
}
HEADS = ("simple", "linear", "bottleneck", "attention")


def random_images(size=64, count=4, channels=3):
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(1))


def with_statistics(model, images):
    """Let its batch norms see images, so that a mix-up of maps or layers shows."""
    model.train()
    with torch.no_grad():
        model(images)
    return model.eval()


def make(name, size, **more):
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=CLASSES, **more)
    return with_statistics(model, random_images(size, channels=more.get("in_chans", 3)))


@pytest.fixture(scope="module")
def resnet():
    return make("resnet10t", 32, zero_init_last=False)


def state_of(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def inputs_of_exits(model, images):
    """Return what each head was given."""
    seen = []
    hooks = [head.transform.register_forward_pre_hook(lambda _, given: seen.append(given[0])) for head in model.exits]
    with torch.no_grad():
        logits = model.forward_exits(images)
    for hook in hooks:
        hook.remove()
    return seen, logits


@pytest.mark.parametrize("name", NETWORKS)
def test_exits_read_the_maps_of_timm_and_the_answer_stays(name):
    size, first, third = NETWORKS[name]
    images = random_images(size)
    plain = make(name, size)
    # The truth: timm's own way to get at the maps. Networks without it are asked by a hook.
    numbers = (0, 2)
    with torch.no_grad():
        answer = plain(images)
        maps = plain.forward_intermediates(images, indices=list(numbers), intermediates_only=True)
    state = state_of(plain)
    model = attach_exits(plain, [first, third], img_size=size)
    assert has_exits(model)
    assert (model.stages, model.num_exits, model.num_classes) == ((first, third), 3, CLASSES)
    seen, logits = inputs_of_exits(model, images)
    for found, expected in zip(seen, maps, strict=True):
        assert torch.equal(found, expected)
    assert [tuple(each.shape) for each in logits] == [(4, CLASSES)] * 3
    assert torch.equal(logits[-1], answer)
    with torch.no_grad():
        assert torch.equal(model(images), answer)
    kept = {key.removeprefix("backbone."): value for key, value in model.state_dict().items() if "backbone." in key}
    assert kept.keys() == state.keys()
    assert all(torch.equal(kept[key], state[key]) for key in state)
    assert {key.partition(".")[0] for key in model.state_dict()} == {"backbone", "exits"}


@pytest.mark.parametrize("name", ["resnet20_cifar", "mobilenetv2_100", "mobilenetv2_cse", "efficientnet_b0_dmp"])
def test_small_input_forms(name):
    model = with_statistics(create_network(name, num_classes=CLASSES, img_size=32), random_images(32))
    names = [entry["module"] for entry in getattr(model.feature_info, "info", model.feature_info)]
    seen = {}
    for stage in names[:2]:
        model.get_submodule(stage).register_forward_hook(lambda _, __, output, key=stage: seen.update({key: output}))
    images = random_images(32)
    with torch.no_grad():
        answer = model(images)
    truth = dict(seen)
    found, logits = inputs_of_exits(attach_exits(model, names[:2], img_size=32), images)
    assert all(torch.equal(each, truth[stage]) for each, stage in zip(found, names, strict=False))
    assert torch.equal(logits[-1], answer)


@pytest.mark.parametrize("head", HEADS)
def test_heads_train_and_every_exit_moves_the_weights_before_it_only(resnet, head):
    model = attach_exits(copy.deepcopy(resnet), ["layer1", "layer3"], head, img_size=32).train()
    images = random_images(32)
    before = state_of(model)
    logits, maps = model.forward_exit_maps(images)
    if head != "linear":  # brought to the shape of the last map
        assert len({each.shape for each in maps}) == 1
    logits[0].square().sum().backward()
    backbone = model.backbone
    assert all(weight.grad.abs().sum() > 0 for weight in backbone.layer1.parameters())
    assert all(weight.grad is not None for weight in model.exits[0].parameters())
    for later in (backbone.layer2, backbone.layer4, backbone.fc, model.exits[1]):
        assert all(weight.grad is None for weight in later.parameters())
    statistics = [name for name in before if name.endswith("running_mean")]
    assert any("exits" in name for name in statistics) == (head != "linear")
    assert all(not torch.equal(model.state_dict()[name], before[name]) for name in statistics)


def test_statistics_learn_as_without_exits(resnet):
    """One pass through all exits sees the images once, not once for each exit."""
    plain, model = copy.deepcopy(resnet).train(), attach_exits(copy.deepcopy(resnet), img_size=32).train()
    images = random_images(32)
    plain(images)
    model.forward_exits(images)
    for name, tensor in plain.state_dict().items():
        assert torch.equal(model.backbone.state_dict()[name], tensor), name


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        (["layer2"], ("layer2",)),
        ([1, 3], ("layer1", "layer3")),
        ([-2, "0"], ("act1", "layer3")),
        (["-3"], ("layer2",)),
        (["layer3", "layer1", "3"], ("layer1", "layer3")),  # in the order in which they run, each once
    ],
)
def test_stages_by_name_and_number(resnet, stages, expected):
    model = attach_exits(copy.deepcopy(resnet), stages, img_size=32)
    assert model.stages == expected
    assert len(model.exits) == len(expected)


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2_100", "mobilenetv3_small_100", "densenet121"])
def test_automatic_stages_are_the_nearest_to_the_thirds(name):
    model = make(name, 64)
    names = [entry["module"] for entry in model.feature_info][:-1]
    running = {}
    done = 0

    def add(module, _, output):
        nonlocal done
        fan = module.weight[0].numel() if isinstance(module, nn.Conv2d) else module.in_features
        done += output[0].numel() * fan

    hooks = [
        module.register_forward_hook(add) for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    for stage in names:
        hook = model.get_submodule(stage).register_forward_hook(lambda *_, key=stage: running.update({key: done}))
        hooks.append(hook)
    with torch.no_grad():
        model(random_images(64, count=1))
    for hook in hooks:
        hook.remove()
    nearest = [min(names, key=lambda stage: abs(running[stage] / done - share)) for share in (1 / 3, 2 / 3)]
    assert attach_exits(model, img_size=64).stages == tuple(dict.fromkeys(nearest))


def test_the_random_numbers_of_the_caller_are_not_drawn_from_for_looking(resnet):
    """Heads draw their weights; that the network is tried out must not shift them."""
    states = []
    for size in (32, 64):
        torch.manual_seed(7)
        attach_exits(copy.deepcopy(resnet), ["layer2"], "linear", img_size=size)
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


def test_copy_and_another_classifier(resnet):
    model = attach_exits(copy.deepcopy(resnet), img_size=32).eval()
    images = random_images(32)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        expected = model.forward_exits(images)
        model.reset_classifier(3)
        for mine, other in zip(expected, twin.forward_exits(images), strict=True):
            assert torch.equal(mine, other)
        assert [each.shape[1] for each in model.forward_exits(images)] == [3] * model.num_exits
        assert model.num_classes == 3
        assert model.get_classifier() is model.backbone.fc
        assert model.forward_head(model.forward_features(images), pre_logits=True).shape == (4, model.num_features)
        model.reset_classifier(0)
        assert torch.equal(model(images), model.forward_head(model.forward_features(images), pre_logits=True))


def test_classifiers_are_those_that_have_a_row_for_each_class(resnet):
    model = attach_exits(copy.deepcopy(resnet), img_size=32)
    rows = {name.rpartition(".")[0] for name, weight in model.named_parameters() if weight.shape[0] == CLASSES}
    assert set(model.pretrained_cfg["classifier"]) == rows
    assert isinstance(model.get_submodule(model.pretrained_cfg["first_conv"]), nn.Conv2d)
    for entry in model.feature_info:
        model.get_submodule(entry["module"])


def test_half_precision_and_memory_format(resnet):
    model = attach_exits(copy.deepcopy(resnet).to(torch.bfloat16), [1], img_size=32).eval()
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    with torch.no_grad():
        assert model.forward_exits(random_images(32).to(torch.bfloat16))[0].dtype == torch.bfloat16


def test_macs_are_those_of_the_network(resnet):
    image = random_images(32, count=1)
    assert count_macs(attach_exits(copy.deepcopy(resnet), img_size=32), image).total == count_macs(resnet, image).total


REFUSED = {
    "twice": (lambda net: attach_exits(net, [1], img_size=32), [2], "resnet10t: it has exits. Give a network without."),
    "unknown": (
        None,
        ["layer9"],
        "no exit after layer9 of resnet10t: no such stage. It has 0: act1, 1: layer1, 2: layer2, 3: layer3.",
    ),
    "beyond": (None, [5], "no exit after 5 of resnet10t: no such stage. It has 0: act1, "),
    "no number": (None, ["--1"], "no exit after --1 of resnet10t: no such stage. It has 0: act1, "),
    "last": (None, ["layer4"], "no exit after layer4 of resnet10t: there the network itself answers. It has 0: act1"),
    "last by number": (None, [-1], "no exit after -1 of resnet10t: there the network itself answers. It has 0: act1"),
    "none": (None, [], "cannot attach exits to resnet10t: no stage is named. Name some of act1, layer1, "),
    "head": (None, [1, "huge"], "no exit after huge of resnet10t: no such stage"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_stages(resnet, case):
    prepare, stages, said = REFUSED[case]
    model = copy.deepcopy(resnet)
    model = prepare(model) if prepare else model
    with pytest.raises(UserError, match=re.escape(said)):
        attach_exits(model, stages, img_size=32, freeze=True)
    assert all(weight.requires_grad for weight in model.parameters()), "it was changed before it was refused"


@pytest.mark.parametrize(
    ("name", "size", "said"),
    [
        ("torchvision/resnet18", 64, "cannot attach exits to torchvision/resnet18: it has no feature_info"),
        ("vit_tiny_patch16_224", 224, "vit_tiny_patch16_224: its features are not computed by modules one after the"),
        ("xception41", 64, "cannot attach exits to xception41: its features are not computed by modules"),
        ("tresnet_m", 64, "no exit after"),
        ("inception_v3", 64, "inception_v3 cannot take images of 64 pixels: "),
    ],
)
def test_networks_that_cannot_have_exits(name, size, said):
    model = create_network(name, small_input=False)
    with pytest.raises(UserError, match=re.escape(said)):
        attach_exits(model, [0] if name == "tresnet_m" else None, img_size=size)


def test_a_network_that_no_registry_made_is_refused():
    model = timm.models.resnet.ResNet(timm.models.resnet.BasicBlock, (1, 1, 1, 1))
    with pytest.raises(UserError, match="cannot attach exits to ResNet: "):
        attach_exits(model, [1], img_size=32)


def test_an_unknown_head_is_refused(resnet):
    with pytest.raises(UserError, match="unknown exit head huge: there are simple, linear, bottleneck, attention"):
        attach_exits(copy.deepcopy(resnet), [1], "huge", img_size=32)


def test_the_result_is_the_network_with_exits(resnet):
    model = copy.deepcopy(resnet)
    result = attach_exits(model, img_size=32)
    assert isinstance(result, AttachedExits)
    assert result.backbone is model
