"""What timm demands of its own networks, demanded of every network of leannet: sizes, heads, arguments."""

import pytest
import timm
import torch
from registered_networks import CLASSES, classifiers, every_network, has_fixed_size, images, make, network
from torch import nn


@every_network
def test_it_answers_at_its_default_size(name):
    model = timm.create_model(name).eval()
    with torch.no_grad():
        logits = model(torch.randn(1, *model.pretrained_cfg["input_size"]))
    assert logits.shape == (1, 1000)
    assert logits.isfinite().all()
    assert model.pretrained_cfg["architecture"] == name
    assert name in timm.list_models()


@every_network
def test_it_answers_at_another_size(name):
    height, width = 40, 72
    size = {"img_size": (height, width)} if has_fixed_size(name) else {}
    model = make(name, **size).eval()
    batch = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert model(batch).shape == (2, CLASSES)


@every_network
def test_answers_differ_between_images(name):
    # Without this, the comparisons of outputs elsewhere could hold for a network that answers its bias.
    logits = network(name)(images(name, batch=3))
    assert (logits[0] - logits[1]).abs().max() > 1e-2


@every_network
def test_the_head_follows_the_features(name):
    model, batch = network(name), images(name)
    features = model.forward_features(batch)
    assert features.shape[:2] == (2, model.num_features)
    pooled = model.forward_head(features, pre_logits=True)
    assert pooled.shape == (2, model.head_hidden_size)
    torch.testing.assert_close(pooled, features.mean(dim=(2, 3)))
    assert torch.equal(model.forward_head(features), model(batch))
    torch.testing.assert_close(model(batch), model.get_classifier()(pooled))


@every_network
def test_the_classifier_can_be_removed_and_put_back(name):
    model, batch = make(name).eval(), images(name)
    with torch.no_grad():
        features = model.forward_features(batch)
        model.reset_classifier(0)
        assert model.num_classes == 0
        torch.testing.assert_close(model(batch), features.mean(dim=(2, 3)))
        model.reset_classifier(5)
        assert model.num_classes == 5
        assert model(batch).shape == (2, 5)
        assert model.get_classifier().out_features == 5
        torch.testing.assert_close(model.forward_features(batch), features)


@every_network
def test_the_pooling_can_be_replaced(name):
    model, batch = make(name).eval(), images(name)
    with torch.no_grad():
        features = model.forward_features(batch)
        mean, maximum = features.mean(dim=(2, 3)), features.amax(dim=(2, 3))
        pooled = {"max": maximum, "avgmax": (mean + maximum) / 2, "catavgmax": torch.cat([mean, maximum], dim=1)}
        for pool, expected in pooled.items():
            model.reset_classifier(5, pool)
            torch.testing.assert_close(model.forward_head(features, pre_logits=True), expected)
            assert model.forward_head(features).shape == (2, 5)
            assert model.head_hidden_size == expected.shape[1]
        model.reset_classifier(0, "")
        assert torch.equal(model(batch), features)


@every_network
def test_it_is_made_with_another_pooling_or_no_classifier(name):
    batch = images(name)
    bare, largest = make(name, num_classes=0).eval(), make(name, num_classes=0, global_pool="max").eval()
    with torch.no_grad():
        features = bare.forward_features(batch)
        torch.testing.assert_close(bare(batch), features.mean(dim=(2, 3)))
        largest.load_state_dict(bare.state_dict())
        torch.testing.assert_close(largest(batch), features.amax(dim=(2, 3)))
    assert bare.num_classes == 0


@every_network
@pytest.mark.parametrize("channels", [1, 4])
def test_it_takes_other_than_three_channels(name, channels):
    model = make(name, in_chans=channels).eval()
    assert model.in_chans == channels
    with torch.no_grad():
        assert model(images(name, channels=channels)).shape == (2, CLASSES)
    first = model.get_submodule(model.pretrained_cfg["first_conv"])
    assert first.in_channels == channels


@every_network
def test_dropout_is_in_the_head_and_in_training_only(name):
    model = make(name, num_classes=0, drop_rate=0.5)
    features = torch.ones(2, model.num_features, 1, 1)
    assert model.drop_rate == 0.5
    torch.manual_seed(0)
    dropped = model.train().forward_head(features, pre_logits=False)
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert 0.3 < (dropped == 0).float().mean() < 0.7
    assert torch.equal(model.eval().forward_head(features), torch.ones(2, model.num_features))
    assert make(name).drop_rate == 0


@every_network
def test_first_convolution_and_classifier_are_the_ones_named(name):
    model = network(name)
    called = []
    hooks = [m.register_forward_hook(lambda m, *_: called.append(m)) for m in model.modules() if not list(m.children())]
    model(images(name))
    for hook in hooks:
        hook.remove()
    convolutions = [m for m in called if isinstance(m, nn.Conv2d)]
    linear = [m for m in called if isinstance(m, nn.Linear)]
    assert model.get_submodule(model.pretrained_cfg["first_conv"]) is convolutions[0]
    named = [model.get_submodule(classifier) for classifier in classifiers(model)]
    assert named[0] is model.get_classifier() is linear[-1]
    # No classifier stays unnamed, or its weights would not be left out where the number of classes changes.
    answering = [m for m in model.modules() if isinstance(m, nn.Linear) and m.out_features == CLASSES]
    assert {id(classifier) for classifier in named} == {id(classifier) for classifier in answering}


@every_network
def test_facts_are_complete(name):
    facts = make(name).pretrained_cfg
    assert facts["input_size"][0] == 3
    assert len(facts["mean"]) == len(facts["std"]) == 3
    assert 0.8 < facts["crop_pct"] <= 1
    assert facts["interpolation"] in ("bilinear", "bicubic")
    assert "url" not in facts or not facts["url"]
    assert not facts.get("hf_hub_id")  # nothing is promised that cannot be loaded
