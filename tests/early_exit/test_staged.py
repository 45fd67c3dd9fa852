"""Inference that stops answers like the whole network with the rule applied afterwards, and runs less of it."""

import pytest
import torch
from exit_networks import CLASSES, attached, chain, gated, images, middling, slow
from hypothesis import given, settings
from hypothesis import strategies as st

from leannet import create_network
from leannet.early_exit import RULES, ExitPolicy, StagedClassifier
from leannet.measure import count_macs
from leannet.models import ExitMacs, count_exit_macs
from leannet_runtime import UserError


def policy_of(draw, exits, rule=None):
    rule = rule or draw(st.sampled_from(RULES))
    thresholds = () if rule == "patience" else tuple(draw(st.floats(0.1, 0.9)) for _ in range(exits - 1))
    temperatures = draw(st.sampled_from([(), tuple(0.5 + i for i in range(exits))]))
    return ExitPolicy(thresholds, rule, temperatures, draw(st.integers(2, exits - 1)), draw(st.booleans()))


def assert_equal_to_the_rule_afterwards(network, batch, policy):
    with torch.inference_mode():
        every = torch.stack(network.forward_exits(batch), dim=1).tolist()
    found = StagedClassifier(network, policy)(batch)
    for row, logits in enumerate(every):
        probabilities, number = slow(logits, policy)
        assert int(found.exits[row]) == number
        assert found.probabilities[row].tolist() == pytest.approx(probabilities, abs=1e-9)
        assert int(found.labels[row]) == max(range(CLASSES), key=lambda c: probabilities[c])
    return found


@settings(deadline=None, max_examples=60)
@given(data=st.data(), count=st.integers(1, 64), seed=st.integers(0, 100))
def test_random_rules_and_batches(data, count, seed):
    policy = policy_of(data.draw, 4)
    assert_equal_to_the_rule_afterwards(chain(), images(count, seed=seed), policy)


@settings(deadline=None, max_examples=8)
@given(data=st.data(), count=st.integers(1, 64))
def test_a_network_with_gates(data, count):
    policy = policy_of(data.draw, 3)
    assert_equal_to_the_rule_afterwards(gated(), images(count), policy)


@settings(deadline=None, max_examples=8)
@given(data=st.data(), count=st.integers(1, 24))
def test_attached_exits_channels_last(data, count):
    policy = policy_of(data.draw, 3)
    batch = images(count, side=32).contiguous(memory_format=torch.channels_last)
    assert_equal_to_the_rule_afterwards(attached(), batch, policy)


@pytest.mark.parametrize("network", [chain, gated, attached])
def test_there_are_images_for_every_exit(network):
    """Without this, the comparisons above could hold for networks of which every image leaves at one exit."""
    network, batch = network(), images(64, side=32 if network is attached else 8)
    found = StagedClassifier(network, middling(network, batch))(batch)
    assert found.exits.unique().tolist() == list(range(1, network.num_exits + 1))


def test_later_segments_run_for_those_who_stay_only():
    network, batch = chain(), images(64)
    found = StagedClassifier(network, ExitPolicy((0.5, 0.5, 0.5)))(batch)
    count = torch.bincount(found.exits, minlength=5)[1:]
    assert count.min() > 0
    network.seen = [0, 0, 0, 0]
    StagedClassifier(network, ExitPolicy((0.5, 0.5, 0.5)))._run(batch, ExitMacs((1, 2, 3, 4), (1, 2, 3, 4), {}), None)
    left = 64 - torch.cat([torch.zeros(1, dtype=torch.int64), count.cumsum(0)[:-1]])
    assert network.seen == left.tolist()


def test_nothing_runs_after_the_last_has_left():
    network = chain()
    classifier = StagedClassifier(network, ExitPolicy((0.0, 0.0, 0.0)))
    classifier(images(1))  # counts MACs with a pass of its own
    network.seen = [0, 0, 0, 0]
    classifier(images(5))
    assert network.seen == [5, 0, 0, 0]


def test_macs_of_a_network_without_gates():
    network, batch = attached(), images(64, side=32)
    found = StagedClassifier(network, middling(network, batch))(batch)
    full = count_macs(network, torch.zeros(1, 3, 32, 32, dtype=torch.float64)).total
    heads = [count_macs(network.exits[i], _map(network, i)).total for i in range(2)]
    at_end = found.macs[found.exits == 3]
    assert at_end.unique().tolist() == [full + sum(heads)]
    by_exit = [found.macs[found.exits == number].unique() for number in (1, 2, 3)]
    assert all(len(values) == 1 for values in by_exit)
    assert by_exit[0] < by_exit[1] < by_exit[2]


def _map(network, index):
    x = torch.zeros(1, 3, 32, 32, dtype=torch.float64)
    for number in range(index + 1):
        x = network.run_segment(number, x)
    return x


def test_macs_of_gates_are_those_of_the_image():
    """One image alone and the same in a batch cost the same, and gates make images differ."""
    network, batch = gated(), images(12)
    classifier = StagedClassifier(network, ExitPolicy((0.6, 0.6)))
    together = classifier(batch)
    alone = torch.cat([classifier(batch[i : i + 1]).macs for i in range(12)])
    assert torch.equal(together.macs, alone)
    at_end = together.macs[together.exits == together.exits.mode().values]
    assert len(at_end.unique()) > 1
    most = StagedClassifier(network, ExitPolicy((0.6, 0.6)), count_gates=False)(batch)
    assert (most.macs > together.macs).all()
    assert torch.equal(most.exits, together.exits)


def test_macs_by_hand():
    """With a gate per channel that is open or closed, an image costs the closed network and the rings it opened."""
    network, batch = gated(), images(3)
    opened = []
    hooks = []
    for module in network.modules():
        if type(module).__name__ == "ChannelGate":
            # 16 taps of the ring, at each position of each open channel.
            hooks.append(
                module.register_forward_hook(
                    lambda _, inputs, out: opened.append(16 * inputs[0].shape[-1] ** 2 * out.flatten(1).sum(dim=1))
                )
            )
    found = StagedClassifier(network, ExitPolicy((1.0, 1.0)), count_gates=False)
    found(batch)  # counts its MACs first
    opened.clear()
    found(batch)
    for hook in hooks:
        hook.remove()
    closed = found._macs[8, 8].closed[-1]
    macs = StagedClassifier(network, ExitPolicy((1.0, 1.0)))(batch).macs
    assert macs.tolist() == (closed + torch.stack(opened).sum(dim=0)).tolist()


def test_what_does_not_fit_is_refused():
    with pytest.raises(UserError, match="has no exits"):
        StagedClassifier(create_network("resnet20_cifar", num_classes=2), ExitPolicy((0.5,)))
    with pytest.raises(UserError, match="2 thresholds"):
        StagedClassifier(chain(), ExitPolicy((0.5, 0.5)))


def test_macs_of_images_that_are_not_square():
    network = attached()
    batch = images(2, side=32)[:, :, :, :16].repeat(1, 1, 2, 1)  # 64 x 16
    found = StagedClassifier(network, ExitPolicy((0.0, 0.0)))(batch)
    tall = count_exit_macs(network, (64, 16)).open[0]
    assert found.macs.tolist() == [tall, tall]
    assert tall == pytest.approx(count_exit_macs(network, 32).open[0], rel=0.01)
