"""Rules and thresholds: against a loop over plain numbers, and what is refused."""

import math
import re

import pytest
import torch
from exit_networks import CLASSES, slow
from hypothesis import given, settings
from hypothesis import strategies as st

from leannet.early_exit import RULES, ExitPolicy, apply_policy, sureness
from leannet_runtime import UserError

unit = st.floats(0, 1)


@st.composite
def policies(draw, exits):
    rule = draw(st.sampled_from(RULES if exits > 2 else RULES[:3]))  # of one early exit no two can agree
    return ExitPolicy(
        thresholds=() if rule == "patience" else tuple(draw(unit) for _ in range(exits - 1)),
        rule=rule,
        temperatures=draw(st.sampled_from([(), tuple(0.5 + i for i in range(exits))])),
        patience=draw(st.integers(2, exits - 1)) if rule == "patience" else 2,
        ensemble=draw(st.booleans()),
    )


@settings(deadline=None, max_examples=60)
@given(data=st.data(), exits=st.integers(2, 5), seed=st.integers(0, 1000))
def test_it_is_the_loop_over_the_exits(data, exits, seed):
    policy = data.draw(policies(exits))
    logits = 3 * torch.randn(20, exits, CLASSES, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    probabilities, found = apply_policy(logits, policy)
    for row, image in enumerate(logits.tolist()):
        expected, number = slow(image, policy)
        assert int(found[row]) + 1 == number
        assert probabilities[row].tolist() == pytest.approx(expected, abs=1e-12)


def test_sureness_at_its_ends():
    even = torch.full((1, 4), 0.25)
    certain = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    for rule, least in (("confidence", 0.25), ("entropy", 0.0), ("margin", 0.0)):
        assert float(sureness(even, rule)) == pytest.approx(least, abs=1e-6)
        assert float(sureness(certain, rule)) == 1.0
    half = torch.tensor([[0.5, 0.5, 0.0, 0.0]])
    assert float(sureness(half, "entropy")) == pytest.approx(1 - math.log(2) / math.log(4))


def test_a_threshold_that_is_just_reached_lets_leave():
    logits = torch.log(torch.tensor([[[0.75, 0.25], [0.5, 0.5]]], dtype=torch.float64))
    reached = float(sureness(logits[:, 0].softmax(dim=1), "confidence"))
    assert apply_policy(logits, ExitPolicy((reached,)))[1].tolist() == [0]
    assert apply_policy(logits, ExitPolicy((reached + 1e-9,)))[1].tolist() == [1]


def test_everybody_or_nobody_leaves():
    logits = torch.randn(50, 3, CLASSES, generator=torch.Generator().manual_seed(0))
    assert apply_policy(logits, ExitPolicy((0.0, 0.0)))[1].unique().tolist() == [0]
    probabilities, exits = apply_policy(logits, ExitPolicy((1.0, 1.0)))
    assert exits.unique().tolist() == [2]
    torch.testing.assert_close(probabilities, logits[:, 2].softmax(dim=1))


def test_config_brings_it_back():
    policy = ExitPolicy((0.25, 0.5), "margin", (1.0, 2.0, 0.5), ensemble=True)
    assert ExitPolicy.from_config({**policy.as_config(), "calibrated": {}}) == policy


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"thresholds": (0.5, 1.5)}, "threshold 1.5: an exit's sureness lies between 0 and 1"),
        ({"thresholds": (-0.1,)}, "threshold -0.1"),
        ({"thresholds": (float("nan"),)}, "threshold nan"),
        ({"rule": "luck"}, "unknown exit rule luck: there are confidence, entropy, margin, patience"),
        ({"rule": "patience", "patience": 1}, "at least 2"),
        ({"rule": "patience", "thresholds": (0.5,)}, "no thresholds"),
        ({"temperatures": (1.0, 0.0)}, "positive numbers"),
        ({"thresholds": 0.5}, "thresholds 0.5: they are a sequence of numbers. Give (0.9, 0.8), say."),
        ({"thresholds": "01"}, "thresholds '01': they are a sequence of numbers"),
        ({"thresholds": None}, "thresholds None: they are a sequence of numbers"),
        ({"temperatures": 2.0}, "temperatures 2.0: they are a sequence of numbers"),
    ],
)
def test_what_is_no_policy_is_refused(arguments, words):
    with pytest.raises(UserError, match=re.escape(words)):
        ExitPolicy(**arguments)


def test_a_policy_of_another_network_is_refused():
    with pytest.raises(UserError, match="1 thresholds: a network of 3 exits takes 2 thresholds by confidence"):
        ExitPolicy((0.5,)).check(3)
    with pytest.raises(UserError, match="2 temperatures: the network has 3 exits"):
        ExitPolicy((0.5, 0.5), temperatures=(1.0, 1.0)).check(3)
    with pytest.raises(UserError, match="0 thresholds"):
        apply_policy(torch.zeros(2, 3, CLASSES), ExitPolicy())


def test_patience_that_would_let_no_image_leave_is_refused():
    logits = torch.zeros(1, 4, CLASSES)
    for patience in (2, 3):
        assert apply_policy(logits, ExitPolicy(rule="patience", patience=patience))[1].tolist() == [patience - 1]
    said = "patience 4: the network has 3 exits before the last, so no image could leave. Give a patience of at most 3."
    with pytest.raises(UserError, match=said):
        apply_policy(logits, ExitPolicy(rule="patience", patience=4))
    with pytest.raises(UserError, match=r"1 exit before the last, so no image could leave\. Choose another rule"):
        ExitPolicy(rule="patience").check(2)


def test_a_list_is_the_same_policy_as_a_tuple():
    assert ExitPolicy([0.5], temperatures=[1, 2]) == ExitPolicy((0.5,), temperatures=(1.0, 2.0))


@pytest.mark.parametrize("config", [{}, {"rule": "confidence"}, {"rule": 1, "thresholds": "x", "temperatures": None}])
def test_a_config_that_is_none_is_refused(config):
    with pytest.raises(UserError, match=r"early_exit in config\.json"):
        ExitPolicy.from_config(config)
