"""`leannet models` against counts that are made here from the layers alone."""

import json

import pytest
import timm
import torch
from command_line import leannet, refusal
from timm.models import model_entrypoint
from torch import nn

from leannet.blocks import MultiScaleConv2d


def own_networks():
    own = {name for name in timm.list_models() if model_entrypoint(name).__module__.startswith("leannet.")}
    return own - {"adapted", "with_exits"}  # which rebuild saved networks


def count_by_hand(model, size):
    """Count parameters, and MACs from the shapes of convolutions and linear layers."""
    macs = 0

    def add(module, _, output):
        nonlocal macs
        if isinstance(module, nn.Conv2d | MultiScaleConv2d):  # of EMGNet's kernels the rings too
            macs += output[0].numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            macs += output[0].numel() * module.in_features

    for module in model.modules():
        module.register_forward_hook(add)
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, size, size))
    return sum(tensor.numel() for tensor in model.parameters()), macs


@pytest.fixture(scope="module")
def listed():
    answer = leannet("models", "--json")
    assert (answer.code, answer.err) == (0, "")
    return {row["name"]: row for row in json.loads(answer.out)}


def test_all_networks_are_listed(listed):
    assert set(listed) == own_networks()
    assert {row["paper"] for row in listed.values()} <= {"dmp", "cse", "sm_v2", "emgnet"}
    assert all(row["title"] for row in listed.values())


def test_counts_are_those_made_by_hand(listed):
    for name, row in listed.items():
        counts = count_by_hand(timm.create_model(name), row["img_size"])
        assert (row["parameters"], row["macs"]) == counts, name


def test_a_part_of_a_name_and_a_pattern():
    part = leannet("models", "sm_v2_2")
    assert [line.split()[0] for line in part.out.splitlines()[1:3]] == ["sm_v2_2_1_5", "sm_v2_2_2"]
    pattern = json.loads(leannet("models", "resnet?4_cifar", "--json").out)
    assert [row["name"] for row in pattern] == ["resnet44_cifar"]
    assert leannet("models", "cifar*").code == 2, "a pattern must match the whole name"


def test_table_has_units_and_the_next_command():
    answer = leannet("models", "mobilenetv2_cse")
    heading, first = answer.out.splitlines()[:2]
    assert heading.split() == ["network", "paper", "params", "MACs", "at"]
    assert first.split() == ["mobilenetv2_cse", "cse", "1.63", "M", "54.88", "M", "32", "px"]
    assert answer.out.splitlines()[-1] == "Parameters with 1000 classes. Next: leannet profile mobilenetv2_cse"


def test_all_searches_timm_and_torchvision():
    names = leannet("models", "--all", "shufflenet_v2_x0_5").out.split()
    assert names == ["torchvision/shufflenet_v2_x0_5"]
    rows = json.loads(leannet("models", "--all", "resnet*20*", "--json").out)
    assert rows[0]["name"] == "resnet20_cifar"
    assert {"name": "resnetv2_101"} not in rows
    everything = leannet("models", "--all", "test_*").out.split()
    assert everything == timm.list_models("test_*")
    assert refusal("models", "--all", "adapted")


def test_no_match_says_where_to_search():
    said = refusal("models", "byobnet")
    count = len(own_networks())
    expected = (
        f"no network matches byobnet: leannet has {count} networks. Pass --all to search timm's and torchvision's."
    )
    assert said == f"leannet: {expected}"
    assert refusal("models", "--all", "qqq").endswith("Try a shorter part of the name.")
