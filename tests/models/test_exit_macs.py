"""What exits and gates cost, against layers worked out by hand, the papers' counts, and gates read one by one."""

from functools import cache

import pytest
import timm
import torch
from registered_networks import make
from several_exits import LARGE, SMALL, decisions_read, every_exit_network, exit_network, noise

from leannet.measure import count_macs
from leannet.models import ExitLogits, GateMeter, count_exit_macs
from leannet.papers import agrees, computed

SIZE = {**dict.fromkeys(SMALL, 32), **dict.fromkeys(LARGE, 64)}


@cache
def network(name):
    return make(name, num_classes=10).eval()


@cache
def counted(name):
    return count_exit_macs(network(name), SIZE[name])


def emgnet56_by_hand(window):
    """Stages of nine blocks of two modules: 1x1 to half the channels, a window for each of those, a shortcut."""
    stages, before = [], 40
    for width, positions in ((40, 32 * 32), (80, 16 * 16), (160, 8 * 8)):
        stage = 0
        for number in range(9):
            stage += positions * (before * width // 2 + window * width // 2)
            stage += positions * (width * width // 2 + window * width // 2)
            if number == 0 and before != width:
                stage += positions * before * width
            before = width
        stages.append(stage)
    return 3 * 9 * 40 * 32 * 32 + stages[0], stages[1], stages[2]


def resnet56_by_hand():
    stages, before = [], 16
    for width, positions in ((16, 32 * 32), (32, 16 * 16), (64, 8 * 8)):
        shortcut = positions * before * width if before != width else 0
        stages.append(positions * 9 * width * (before + 17 * width) + shortcut)
        before = width
    return 3 * 9 * 16 * 32 * 32 + stages[0], stages[1], stages[2]


def bottleneck_by_hand(channels, side, factor, width):
    """SD-ResNet: 1x1 to a quarter, a window of the factor, 1x1; the last map has 8 x 8 positions."""
    middle = width // 4
    return side**2 * channels * middle + 64 * factor**2 * middle**2 + 64 * middle * width


def attention_by_hand(channels, side, factor, width):
    """SCAN: 3x3 at half the side, from there 4x4 transposed; 1x1 to 128, a window of the factor, 1x1."""
    attention = (side // 2) ** 2 * channels**2 * (9 + 16)
    return attention + side**2 * channels * 128 + 64 * factor**2 * 128**2 + 64 * 128 * width


HEADS = {
    "emgnet56_cifar": (64 * 40 * 160, 64 * 80 * 160, 0),
    "sdresnet56_cifar": (bottleneck_by_hand(16, 32, 4, 64), bottleneck_by_hand(32, 16, 2, 64), 0),
    "scanresnet56_cifar": (attention_by_hand(16, 32, 4, 64), attention_by_hand(32, 16, 2, 64), 0),
}


def way(name, segments):
    """Segments and heads passed up to each exit."""
    width = network(name).num_features
    steps = [segment + head + width * 10 for segment, head in zip(segments, HEADS[name], strict=True)]
    return tuple(sum(steps[: number + 1]) for number in range(3))


def test_emgnet_by_hand():
    assert counted("emgnet56_cifar").open == way("emgnet56_cifar", emgnet56_by_hand(25))
    assert counted("emgnet56_cifar").closed == way("emgnet56_cifar", emgnet56_by_hand(9))


@pytest.mark.parametrize("name", ["sdresnet56_cifar", "scanresnet56_cifar"])
def test_resnets_by_hand(name):
    assert counted(name).open == counted(name).closed == way(name, resnet56_by_hand())
    assert counted(name).gates == {}


def segments_of(name):
    """MACs between exits without heads, from what every module costs."""
    model = network(name)
    spent = count_macs(ExitLogits(model), torch.zeros(1, 3, SIZE[name], SIZE[name])).by_module
    stages = [spent[f"network.stages.{number}"] for number in range(len(model.stages))]
    return spent["network.stem"] + sum(stages[:-2]), stages[-2], stages[-1], spent


def test_the_backbone_of_emgnet_is_the_one_of_the_paper():
    rows = {row.exit: row for row in computed("emgnet56_cifar", "backbone_macs")}
    assert set(rows) == {1, 2, 3}
    segments = segments_of("emgnet56_cifar")[:3]
    for number, row in rows.items():
        assert agrees(sum(segments[:number]), row), row


@pytest.mark.parametrize("name", [*SMALL[1:], *LARGE[1:]])
def test_backbones_of_resnets_are_those_of_the_plain_networks(name):
    plain = timm.create_model("resnet56_cifar" if name in SMALL else "resnet50", num_classes=0)
    expected = count_macs(plain, torch.zeros(1, 3, SIZE[name], SIZE[name])).total
    assert sum(segments_of(name)[:3]) == expected


@every_exit_network
def test_the_way_to_an_exit_has_all_heads_before_it(name):
    *segments, spent = segments_of(name)
    heads = [
        spent[f"network.exits.{number}.transform"] + spent[f"network.exits.{number}.classifier"] for number in (0, 1)
    ]
    heads.append(spent["network.head"])
    expected = [sum(segments[:end]) + sum(heads[:end]) for end in (1, 2, 3)]
    assert counted(name).open == tuple(expected)
    closed_is_less = [one < other for one, other in zip(counted(name).closed, counted(name).open, strict=True)]
    assert closed_is_less == [name.startswith("emgnet")] * 3
    assert count_macs(network(name), torch.zeros(1, 3, SIZE[name], SIZE[name])).total == sum(segments) + heads[-1]


def test_counting_leaves_the_gates_as_they_were():
    model = exit_network("emgnet56_cifar")
    model.stages[0][0].emg[0].multi_scale.gates = "closed"
    before = model(noise("emgnet56_cifar"))
    count_exit_macs(model, 16)
    gates = [module.gates for module in model.modules() if hasattr(module, "gates")]
    assert gates == ["closed"] + ["learned"] * 53
    assert torch.equal(model(noise("emgnet56_cifar")), before)


def test_what_the_gates_of_each_layer_cost():
    gates = counted("emgnet56_cifar").gates
    assert len(gates) == 3 * 9 * 2
    for name, (number, macs) in gates.items():
        stage, block = map(int, name.split(".")[1:3])
        assert number == stage
        assert macs == 16 * (20, 40, 80)[stage] * (32, 16, 8)[stage] ** 2
        assert 0 <= block < 9


@pytest.mark.parametrize("name", ["emgnet56_cifar", "emgnet50"])
def test_measured_macs_lie_between_closed_and_open(name):
    macs = counted(name)
    assert macs.mean(dict.fromkeys(macs.gates, 0.0)) == macs.closed
    assert macs.mean(dict.fromkeys(macs.gates, 1.0)) == macs.open
    last_half_open = {layer: 0.5 * (number == 2) for layer, (number, _) in macs.gates.items()}
    found = macs.mean(last_half_open)
    assert found[:2] == macs.closed[:2]
    beyond = (macs.open[2] - macs.open[1]) - (macs.closed[2] - macs.closed[1])
    assert found[2] == macs.closed[2] + beyond / 2


def positions_of(layer, side):
    return (side // 2 ** int(layer.split(".")[1])) ** 2


def test_gates_are_counted_layer_by_layer():
    model = exit_network("emgnet56_cifar")
    batches = [noise("emgnet56_cifar"), noise("emgnet56_cifar", batch=2, seed=3)]
    with decisions_read(model) as read, GateMeter(model) as meter:
        for batch in batches:
            model(batch)
    assert list(meter.layers) == list(read)
    assert len(read) == 54
    counts = meter.counts()
    for layer, calls in read.items():
        decisions = torch.cat(calls)
        assert counts[layer] == (decisions.sum().item(), decisions.numel())
    assert any(0 < opened < seen for opened, seen in counts.values())
    model(batches[0])  # outside, so it does not count
    assert meter.counts() == counts


def test_open_gates_cost_each_image_its_own():
    model = exit_network("emgnet56_cifar")
    macs = count_exit_macs(model, 16)
    with decisions_read(model) as read, GateMeter(model, per_image=True) as meter:
        for batch in (noise("emgnet56_cifar"), noise("emgnet56_cifar", batch=2, seed=3)):
            model(batch)
            found = meter.take_macs(len(batch))
            expected = torch.zeros(len(batch), dtype=torch.float64)
            for layer, calls in read.items():
                expected += 16 * calls.pop().sum(dim=1) * positions_of(layer, 16)
            assert torch.equal(found, expected)
            assert len(found.unique()) > 1
        assert meter.take_macs(4).tolist() == [0, 0, 0, 0]
    with GateMeter(model, per_image=True) as meter:
        model(noise("emgnet56_cifar"))
        shares = {layer: opened / seen for layer, (opened, seen) in meter.counts().items()}
        mean = meter.take_macs(3).mean().item()
    assert macs.mean(shares)[-1] == pytest.approx(macs.closed[-1] + mean, rel=1e-12)


def test_a_network_without_gates_has_nothing_to_count():
    model = exit_network("sdresnet56_cifar")
    with GateMeter(model, per_image=True) as meter:
        model(noise("sdresnet56_cifar"))
    assert meter.counts() == {}
    assert meter.take_macs(3).tolist() == [0, 0, 0]
