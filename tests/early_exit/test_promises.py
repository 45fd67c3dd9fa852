"""What calibration says where it cannot do what was asked, or does not keep what was promised."""

import re
from dataclasses import replace

import numpy as np
import pytest
from exit_networks import MS, answers

from leannet.early_exit import ExitAnswers, ExitPolicy, Goal, calibrate, choose_by_budget, trade_offs
from leannet_cli.numbers import count_value
from leannet_runtime import UserError


@pytest.mark.parametrize(
    ("first", "unit", "said", "passed"),
    [
        (43500160.0, "macs", "costs 43.51M MACs already. Pass --budget-macs 43.51M or more", "43.51M"),
        (43510000.0, "macs", "costs 43.51M MACs already. Pass --budget-macs 43.51M or more", "43.51M"),
        (2.5e9, "macs", "costs 2.5G MACs already. Pass --budget-macs 2.5G or more", "2.5G"),
        (1234.5, "macs", "costs 1.24k MACs already. Pass --budget-macs 1.24k or more", "1.24k"),
        (7.9851, "ms", "costs 7.986 ms already. Pass --budget-ms 7.986 or more", "7.986"),
        (2000.0, "ms", "costs 2000 ms already. Pass --budget-ms 2000 or more", "2000"),
    ],
)
def test_the_least_budget_has_its_unit_and_can_be_passed(first, unit, said, passed):
    found = answers()
    front, _ = trade_offs(found, ExitPolicy(), [first, 2 * first, 3 * first])
    with pytest.raises(UserError, match=re.escape(said)):
        choose_by_budget(front, first / 100, f"--budget-{unit} little", unit)
    budget = count_value(passed, "") if unit == "macs" else float(passed)
    assert choose_by_budget(front, budget, "", unit).shares == (1, 0, 0)


def test_the_least_budget_can_be_passed_whatever_it_is():
    front, _ = trade_offs(answers(20), ExitPolicy())
    generator = np.random.default_rng(0)
    for power in generator.uniform(0.5, 11, 300):
        cost = round(10**power, 2)
        dear = [replace(each, cost=cost) for each in front]
        with pytest.raises(UserError, match="cannot be reached") as caught:
            choose_by_budget(dear, 1.0, "")
        text = re.search(r"--budget-macs (\S+) or more", str(caught.value))[1]
        choose_by_budget(dear, count_value(text, ""), "")
        assert count_value(text, "") <= max(1.01 * cost, cost + 1e-2)


def test_a_promise_that_others_images_do_not_keep_is_said():
    # So hard to tell apart that what is chosen on few images is luck.
    broken = calibrate(answers(160, seed=3), MS, Goal(max_drop=2.0))
    fresh = broken.fresh_difference.points
    assert broken.difference.points.value >= -2 > fresh.value
    assert broken.warning() == (
        f"--max-drop 2 is not kept; on images that had no part in the choice it comes to {fresh.value:+.2f} points "
        f"(95 % interval {fresh.low:+.2f} to {fresh.high:+.2f}). Calibrate with more validation images."
    )
    assert broken.record()["warning"] == broken.warning()
    for goal in (Goal(max_drop=40.0), Goal(budget_macs=15.0), Goal(budget_ms=2.0)):
        kept = calibrate(answers(160, seed=3), MS, goal)
        if goal.max_drop is not None:
            assert kept.fresh_difference.points.value >= -goal.max_drop
        assert kept.warning() is None


def test_one_image_says_nothing_of_others():
    alone = calibrate(answers(1), MS, Goal(max_drop=0.0))
    assert alone.fresh_difference is None
    assert alone.warning().startswith("--max-drop 0 is a promise that no number of images can prove. Promise a small")


def test_a_promise_of_nothing_lost_is_never_proved():
    found = answers(300)
    # All exits alike: nothing is lost, and the warning stands all the same.
    alike = ExitAnswers(found.logits[:, -1:].expand(-1, 3, -1).clone(), found.labels, found.macs)
    said = calibrate(alike, MS, Goal(max_drop=0.0)).warning()
    assert said.startswith("--max-drop 0 is a promise that no number of images can prove; on images that had no part")
    assert said.endswith("Promise a small drop, which enough images can show.")
    lost = calibrate(answers(60, seed=3), MS, Goal(max_drop=0.0))
    assert lost.fresh_difference.points.value < 0
    assert lost.warning().startswith("--max-drop 0 is not kept; on images that had no part in the choice it comes to -")
