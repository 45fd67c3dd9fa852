"""The networks against the counts of their papers: what is printed, and what follows from the printed tables."""

from functools import cache

import pytest
import timm
import torch
import torchvision

from leannet import create_network
from leannet.measure import count_macs, count_parameters
from leannet.papers import agrees, computed, published

# Every count that was worked out from a paper. A row that is dropped from the papers' files would otherwise take its
# test with it.
COUNTS = {
    "efficientnet_b0": {4_020_358},
    "efficientnet_b0_maxpool": {3_114_374},
    "efficientnet_b0_duplicate": {3_104_134},
    "efficientnet_b0_dmp": {2_198_150},
    "mobilenetv2_bias": {2_253_738},
    "mobilenetv2_cse": {363_370, 478_660, 444_088},
    "mobilenetv2_optimised": {425_850, 541_140},
    "mobilenetv2_cse_literal": {363_483, 478_773},
    "mobilenetv1_100": {3_309_476},
    "mobilenetv2_100": {2_351_972},
    "sm_v2": {1_538_372},
    "sm_v2_2_2": {1_663_428},
    "sm_v2_2_1_5": {1_592_708},
    "sm_v2_3_2": {2_046_148},
    "sm_v2_x2nr": {3_656_644},
    "resnet20_cifar": {272_474},
    "resnet44_cifar": {661_338},
    "resnet56_cifar": {855_770},
    "resnet110_cifar": {1_730_714},
}
# Printed without a table that would say what was counted; the libraries' networks of that name have other counts.
PRINTED_OTHERWISE = {"resnet101", "senet154", "mobilenetv2_cse_only"}


def exists(name):
    if name.startswith("torchvision/"):
        return name.removeprefix("torchvision/") in torchvision.models.list_models()
    return timm.is_model(name)


def rows(figures):
    return [
        pytest.param(row, id=f"{row.network}-{row.num_classes}-{row.img_size}-{row.printed or int(row.value)}")
        for row in figures
        if exists(row.network)
    ]


@cache
def parameters(name, num_classes, img_size):
    arguments = {
        "num_classes": num_classes,
        "img_size": img_size,
        "small_input": img_size is not None and img_size < 64,
    }
    return count_parameters(create_network(name, **arguments))


@cache
def macs(name, num_classes, img_size):
    network = create_network(name, num_classes=num_classes, img_size=img_size)
    return count_macs(network, torch.zeros(1, 3, img_size, img_size)).total


def counted_in(row):
    # The papers' files leave the size open where the count does not hang on it.
    return row.network, row.num_classes, row.img_size


def computed_beside(row):
    """The computed counts of a printed row: of the same network, classes and, where both say it, size."""
    return [
        other
        for other in computed(row.network, row.quantity, row.num_classes)
        if None in (row.img_size, other.img_size) or row.img_size == other.img_size
    ]


@pytest.mark.parametrize("row", rows(computed(quantity="params")))
def test_parameters_are_the_computed_ones_to_the_unit(row):
    assert row.precision == 1
    assert parameters(*counted_in(row)) == row.value


@pytest.mark.parametrize("row", rows(computed(quantity="macs")))
def test_macs_are_the_computed_ones(row):
    assert agrees(macs(*counted_in(row)), row)


def test_no_computed_count_was_dropped():
    found = {}
    for row in computed(quantity="params"):
        found.setdefault(row.network, set()).add(row.value)
    assert {name: values for name, values in found.items() if name in COUNTS} == COUNTS
    assert all(exists(name) for name in COUNTS)


def test_macs_were_computed_for_every_network_of_a_table():
    assert {row.network for row in computed(quantity="macs")} >= COUNTS.keys() - {
        "efficientnet_b0_maxpool",
        "efficientnet_b0_duplicate",
        "mobilenetv2_bias",
    }


@pytest.mark.parametrize("row", rows(row for row in published(quantity="params") if computed_beside(row)))
def test_parameters_agree_with_the_print_where_it_is_said_so(row):
    statuses = {other.status for other in computed_beside(row)}
    assert len(statuses) == 1
    assert agrees(parameters(*counted_in(row)), row) == (statuses == {"checked"})


# The other networks of the tables are large; they are counted without memory for their weights.
@pytest.mark.parametrize("row", rows(row for row in published(quantity="params") if not computed_beside(row)))
def test_parameters_of_other_networks_agree_with_the_print(row):
    with torch.device("meta"):
        counted = parameters.__wrapped__(*counted_in(row))
    assert agrees(counted, row) == (row.network not in PRINTED_OTHERWISE)


@pytest.mark.parametrize("row", rows(row for row in published(quantity="macs", img_size=32) if computed_beside(row)))
def test_macs_agree_with_the_plot_where_it_is_said_so(row):
    (other,) = computed_beside(row)
    assert agrees(macs(*counted_in(row)), row) == (other.status == "checked")
