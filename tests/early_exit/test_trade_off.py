"""Thresholds for a goal: against a search through everything, and what cannot be promised."""

import itertools
import math
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import torch
from exit_networks import CLASSES, MS, answers, attached, images
from sklearn.linear_model import LogisticRegression

from leannet.early_exit import (
    ExitAnswers,
    ExitPolicy,
    Goal,
    StagedClassifier,
    apply_policy,
    calibrate,
    choose_by_budget,
    choose_by_drop,
    collect_answers,
    curve_table,
    draw_curve,
    fit_temperatures,
    measure_exit_latency,
    trade_offs,
)
from leannet_runtime import UserError


def search(found, policy, budget=None, max_drop=None):
    """Try every pair of values that the exits' confidences take on a coarse grid, the slow way."""
    confidence = found.logits.softmax(dim=2).amax(dim=2).numpy()
    right = (found.logits.argmax(dim=2) == found.labels[:, None]).numpy()
    best = None
    grids = [np.quantile(confidence[:, i], np.linspace(0, 1, 60)) for i in range(2)]
    for first, second in itertools.product(*grids):
        correct = cost = 0
        for row in range(len(right)):
            at = 0 if confidence[row, 0] >= first else 1 if confidence[row, 1] >= second else 2
            correct += right[row, at]
            cost += [10, 20, 30][at]
        cost /= len(right)
        if budget is not None and cost <= budget and (best is None or correct > best[0]):
            best = (correct, cost)
        allowed = right[:, 2].sum() - (max_drop or 0) / 100 * len(right)
        if max_drop is not None and correct >= allowed and (best is None or cost < best[1]):
            best = (correct, cost)
    return best


def test_choices_are_as_good_as_a_search_finds():
    found = answers(60)
    front, full = trade_offs(found, ExitPolicy((1.0, 1.0)))
    for budget in (12, 17, 25):
        chosen = choose_by_budget(front, budget, "--budget-macs")
        assert chosen.cost <= budget
        assert chosen.correct >= search(found, None, budget=budget)[0]
    found = answers(300)
    front, full = trade_offs(found, ExitPolicy((1.0, 1.0)))
    chosen = choose_by_drop(front, full, 2.0)
    assert full.correct - chosen.correct <= 0.02 * 300
    assert chosen.cost <= search(found, None, max_drop=2.0)[1] + 1e-9


def test_what_a_choice_says_is_what_its_policy_does():
    found = answers()
    for rule, ensemble in itertools.product(("confidence", "entropy", "margin"), (False, True)):
        policy = ExitPolicy(rule=rule, temperatures=(0.7, 1.3, 1.1), ensemble=ensemble)
        front, full = trade_offs(found, policy)
        assert len(front) > 5
        for trade in front:
            tried = ExitPolicy(trade.thresholds, rule, policy.temperatures, ensemble=ensemble)
            probabilities, exits = apply_policy(found.logits, tried)
            assert trade.correct == int((probabilities.argmax(dim=1) == found.labels).sum())
            assert trade.macs == pytest.approx(float(found.macs.gather(1, exits[:, None]).mean()))
            assert trade.shares == pytest.approx((torch.bincount(exits, minlength=3) / len(exits)).tolist())
        assert full.macs == 30
        assert full.shares == (0, 0, 1)


def test_front_gets_better_as_it_gets_dearer():
    front, full = trade_offs(answers(), ExitPolicy())
    costs, tops = [each.cost for each in front], [each.correct for each in front]
    assert costs == sorted(costs)
    assert tops == sorted(set(tops))
    assert front[0].macs == 10
    assert max(tops) >= full.correct


def test_cost_can_be_milliseconds():
    found = answers()
    front, full = trade_offs(found, ExitPolicy(), MS)
    assert (front[0].cost, full.cost) == (1.0, 4.0)
    for trade in front:
        assert trade.cost == pytest.approx(sum(share * ms for share, ms in zip(trade.shares, MS, strict=True)))


def test_temperatures_are_those_that_another_library_finds():
    """A logistic regression with one weight per margin, for two classes, is temperature scaling."""
    generator = torch.Generator().manual_seed(1)
    margin = 4 * torch.randn(4000, generator=generator)
    labels = (torch.rand(4000, generator=generator) < torch.sigmoid(margin / 2.5)).long()
    logits = torch.stack([torch.zeros(4000), margin], dim=1)[:, None]
    (found,) = fit_temperatures(ExitAnswers(logits, labels, torch.ones(4000, 1, dtype=torch.float64)))
    model = LogisticRegression(C=1e9, fit_intercept=False).fit(margin[:, None].numpy(), labels.numpy())
    assert found == pytest.approx(1 / float(model.coef_[0, 0]), rel=1e-3)
    assert found == pytest.approx(2.5, rel=0.1)


def test_images_too_few_for_the_promise():
    front, full = trade_offs(answers(100), ExitPolicy())
    with pytest.raises(UserError, match=r"on 100 validation images no drop below 3.00 points") as caught:
        choose_by_drop(front, full, 0.5)
    assert "at least 600 images" in str(caught.value)
    assert choose_by_drop(front, full, 3.0).cost <= full.cost
    assert choose_by_drop(front, full, 0.0).correct >= full.correct


def test_a_budget_that_cannot_be_reached_names_the_nearest():
    front, _ = trade_offs(answers(), ExitPolicy())
    with pytest.raises(UserError, match=r"--budget-macs 5 cannot be reached: .* costs 10 MACs already") as caught:
        choose_by_budget(front, 5, "--budget-macs 5")
    assert "Pass --budget-macs 10 or more, or put an exit earlier." in str(caught.value)
    assert choose_by_budget(front, 10, "").shares == (1, 0, 0)


@pytest.mark.parametrize(
    ("goal", "words"),
    [
        ({}, "no goal is given"),
        ({"max_drop": 1.0, "budget_ms": 2.0}, "--max-drop and --budget-ms: there is one goal"),
        ({"budget_macs": 0.0}, "--budget-macs 0: it is a positive number"),
        ({"budget_ms": -2.0}, "--budget-ms -2: it is a positive number"),
        ({"max_drop": -1.0}, "--max-drop -1: it is a number of points, 0 or more"),
        ({"max_drop": math.nan}, "--max-drop nan: it is a number of points, 0 or more"),
    ],
)
def test_goals_that_are_none(goal, words):
    with pytest.raises(UserError, match=words):
        Goal(**goal)


def test_patience_cannot_be_calibrated():
    with pytest.raises(UserError, match="no thresholds to calibrate"):
        calibrate(answers(), MS, Goal(max_drop=1.0), rule="patience")


def test_a_calibration_is_consistent_with_itself():
    found = answers(1000)
    result = calibrate(found, MS, Goal(max_drop=1.0))
    probabilities, exits = apply_policy(found.logits, result.policy)
    correct = probabilities.argmax(dim=1) == found.labels
    record = result.record()
    assert record["top1"]["value"] == pytest.approx(100 * float(correct.double().mean()))
    assert record["difference_points"]["value"] == pytest.approx(record["top1"]["value"] - record["full_top1"]["value"])
    assert record["difference_points"]["value"] >= -1.0
    assert record["mean_ms"] == pytest.approx(float(torch.tensor(MS)[exits].mean()), rel=1e-6)
    assert record["mean_macs"] < record["full_macs"] == 30
    assert [round(exit["value"], 6) for exit in record["exits_top1"]] == [
        round(100 * float((found.logits[:, i].argmax(dim=1) == found.labels).double().mean()), 6) for i in range(3)
    ]


@pytest.mark.slow
def test_a_figure_for_images_that_had_no_part_in_the_choice():
    """On average over draws the fresh figure is near the truth, where that of the chosen images flatters."""
    truth = answers(10_000, seed=99)
    flattered, fresh, true = [], [], []
    for seed in range(6):
        result = calibrate(answers(300, seed=seed), MS, Goal(max_drop=2.0))
        right, whole = (
            apply_policy(truth.logits, policy)[0].argmax(dim=1) == truth.labels
            for policy in (result.policy, ExitPolicy((1.0, 1.0), temperatures=result.policy.temperatures))
        )
        true.append(100 * float(right.double().mean() - whole.double().mean()))
        flattered.append(result.difference.points.value)
        fresh.append(result.fresh_difference.points.value)
    assert np.mean(flattered) > np.mean(true) + 1
    assert abs(np.mean(fresh) - np.mean(true)) < 0.7 * (np.mean(flattered) - np.mean(true))


def test_folds_that_do_not_reach_the_goal_say_nothing():
    found = answers(400)
    fold = torch.randperm(400, generator=torch.Generator().manual_seed(0)) % 5
    # One fold is so cheap that the mean is within the budget with it, and out of it without.
    macs = torch.where((fold == 0)[:, None], found.macs - 9, found.macs + 2)
    result = calibrate(ExitAnswers(found.logits, found.labels, macs), MS, Goal(budget_macs=11.0))
    assert result.fresh_difference is None
    assert result.record()["fresh_difference_points"] is None


def test_remedies_can_be_followed():
    front, full = trade_offs(answers(360), ExitPolicy())
    with pytest.raises(UserError, match=r"or --max-drop 0\.84 or more"):
        choose_by_drop(front, full, 0.5)
    choose_by_drop(front, full, 0.84)


def test_saturated_exits_are_counted_as_the_policy_lets_them_leave():
    found = answers(scale=200.0)
    front, full = trade_offs(found, ExitPolicy())
    assert full.macs == 30
    assert all(math.isinf(threshold) for threshold in full.thresholds)
    for trade in front:
        _, exits = apply_policy(found.logits, ExitPolicy(trade.thresholds))
        assert trade.macs == pytest.approx(float(found.macs.gather(1, exits[:, None]).mean()))


def test_curve_as_table_and_picture():
    result = calibrate(answers(1000), MS, Goal(budget_macs=20.0), ensemble=True)
    header, cells = curve_table(result)
    rows = [dict(zip(header, row, strict=True)) for row in cells]
    assert len(rows) == len(result.front) + 1
    for row, trade in zip(rows, (*result.front, result.full), strict=True):
        assert float(row["mean_macs"]) == pytest.approx(trade.macs, rel=1e-5)
        assert float(row["top1"]) == pytest.approx(trade.top1, rel=1e-5)
        assert float(row["low"]) < float(row["top1"]) < float(row["high"])
        assert sum(float(row[f"share_exit{i}"]) for i in (1, 2, 3)) == pytest.approx(1, abs=1e-4)
    picture = draw_curve(result, "<title> & $more$")
    assert picture == draw_curve(result, "<title> & $more$")
    texts = "".join(ElementTree.fromstring(picture).itertext())
    assert "<title> & $more$" in texts
    assert "mean MACs of an image (M)" in texts
    assert "chosen" in texts


def test_answers_are_those_of_the_network_and_cost_what_it_spends():
    network, batch = attached(), images(10, side=32)
    labels = torch.arange(10) % CLASSES
    done = []
    found = collect_answers(network, [(batch[:7], labels[:7]), (batch[7:], labels[7:])], 32, on_batch=done.append)
    with torch.inference_mode():
        expected = torch.stack(network.forward_exits(batch), dim=1)
    torch.testing.assert_close(found.logits, expected.float())
    assert found.labels.tolist() == labels.tolist()
    assert done == [7, 10]
    policy = ExitPolicy((0.5, 0.5))
    exited = StagedClassifier(network, policy)(batch)
    assert exited.macs.tolist() == found.macs.gather(1, exited.exits[:, None] - 1).flatten().tolist()


def test_latency_has_an_entry_for_each_exit():
    latency = measure_exit_latency(attached(), images(1, side=32), rounds=3)
    assert len(latency) == 3
    assert all(each.median_ms > 0 and each.repeats == 3 for each in latency)
