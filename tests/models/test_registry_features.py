"""Feature maps of every network of leannet: timm's `feature_info`, `features_only` and `forward_intermediates`."""

import pytest
import torch
from registered_networks import (
    every_network,
    feature_maps,
    features_only,
    images,
    make,
    network,
    side,
)


def assert_same_maps(found, expected):
    assert len(found) == len(expected)
    for feature_map, other in zip(found, expected, strict=True):
        torch.testing.assert_close(feature_map, other)


@every_network
def test_feature_info_is_true(name):
    model, batch = network(name), images(name)
    reductions = [feature["reduction"] for feature in model.feature_info]
    assert reductions == sorted(set(reductions)), "one map for each resolution"
    for feature_map, feature in zip(feature_maps(model, batch), model.feature_info, strict=True):
        assert feature_map.shape[:2] == (2, feature["num_chs"])
        assert feature_map.shape[2:] == (side(name) / feature["reduction"],) * 2


@every_network
def test_the_last_feature_map_has_the_resolution_of_the_features(name):
    model, batch = network(name), images(name)
    assert model.forward_features(batch).shape[2:] == feature_maps(model, batch)[-1].shape[2:]


@every_network
@pytest.mark.parametrize("indices", [None, (0, 2), (-1,)], ids=str)
def test_features_only_gives_the_maps_of_feature_info(name, indices):
    whole, batch = network(name), images(name)
    backbone = features_only(whole, name, **({"out_indices": indices} if indices else {}))
    taken = indices or range(len(whole.feature_info))
    assert_same_maps(backbone(batch), [feature_maps(whole, batch)[index] for index in taken])
    assert backbone.feature_info.channels() == [whole.feature_info[index]["num_chs"] for index in taken]
    assert backbone.feature_info.reduction() == [whole.feature_info[index]["reduction"] for index in taken]
    weights, kept = (sum(p.numel() for p in model.parameters()) for model in (whole, backbone))
    assert kept < weights


@every_network
def test_intermediates_are_the_maps_of_feature_info(name):
    model, batch = network(name), images(name)
    final, intermediates = model.forward_intermediates(batch)
    torch.testing.assert_close(final, model.forward_features(batch))
    assert_same_maps(intermediates, feature_maps(model, batch))


@every_network
def test_intermediates_are_chosen_by_index_or_number(name):
    model, batch = network(name), images(name)
    maps = feature_maps(model, batch)
    for choice, expected in [(None, maps), (2, maps[-2:]), ([0, -1], [maps[0], maps[-1]]), ([1], maps[1:2])]:
        for stop_early in (False, True):
            chosen = model.forward_intermediates(batch, indices=choice, stop_early=stop_early, intermediates_only=True)
            assert_same_maps(chosen, expected)


@every_network
def test_stopping_early_runs_no_later_stage(name):
    model, batch = network(name), images(name)
    later = model.get_submodule(model.feature_info[1]["module"])
    called = []
    hook = later.register_forward_hook(lambda *_: called.append("later"))
    model.forward_intermediates(batch, indices=[0], stop_early=True, intermediates_only=True)
    assert called == []
    model.forward_intermediates(batch, indices=[0], intermediates_only=True)
    hook.remove()
    assert called == ["later"]


@every_network
def test_another_format_is_refused(name):
    with pytest.raises((ValueError, AssertionError), match="NCHW"):
        network(name).forward_intermediates(images(name), output_fmt="NLC")


@every_network
def test_pruning_keeps_what_the_intermediates_need(name):
    model, batch = make(name).eval().requires_grad_(False), images(name)
    before = sum(p.numel() for p in model.parameters())
    expected = model.forward_intermediates(batch, indices=[0, 1], intermediates_only=True)
    assert model.prune_intermediate_layers([0, 1]) == [0, 1]
    assert_same_maps(model.forward_intermediates(batch, indices=[0, 1], intermediates_only=True), expected)
    assert sum(p.numel() for p in model.parameters()) < before
    assert model.num_classes == 0
    assert model(batch).shape[0] == 2  # what is left still runs from end to end
