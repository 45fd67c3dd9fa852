"""The claims of a paper, and the rule that judges them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from emgnet_records import CORRECT, write_record, write_records
from scipy.stats import t
from test_published import original

from leannet.measure import newcombe_interval, wilson_interval
from leannet.papers.claims import load_claims, parse_claims
from leannet.papers.reproduce import find_drawing, reproduce_figure
from leannet.papers.reproduce.comparisons import ABOUT_THE_SAME, nearest_exit

SURE = {"total": 10_000, "top1": {"value": 50.0, "low": 49.0, "high": 51.0}}
PAPERS_BUDGET = {"epochs": 200, "images": 50_000}


def verdicts(folder):
    """Return the verdicts on CIFAR-10, by the network that EMGNet is held against."""
    found = reproduce_figure(find_drawing("emgnet", 3), folder).verdicts
    return {verdict.claim.against: verdict for verdict in found if verdict.dataset == "cifar10"}


def with_results(root, budget=PAPERS_BUDGET, seeds=(0, 1), **changed):
    for network, correct in (CORRECT | changed).items():
        for seed in seeds:
            write_record(root, network, correct, name=f"{network}/{seed}", seed=seed, **budget)
    return root


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    # Newcombe (1998), table II, method 10.
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
    ],
)
def test_interval_of_a_difference_is_the_printed_one(first, second, low, high):
    interval = newcombe_interval(wilson_interval(*first), wilson_interval(*second))
    assert (interval.low, interval.high) == pytest.approx((100 * low, 100 * high), abs=0.006)
    assert interval.value == pytest.approx(100 * (first[0] / first[1] - second[0] / second[1]))


def test_printed_numbers_stand_in_the_original():
    text = original("emgnet").partition("실험 결과")[2].partition("결론")[0]
    for claim in load_claims("emgnet"):
        assert all(f"{abs(number):g}%" in text for number in claim.printed)


@pytest.mark.parametrize("claim", load_claims("emgnet")[:2], ids=lambda claim: claim.against)
def test_claims_on_cifar_are_the_differences_of_the_points_read_off(claim, tmp_path):
    """The text gives the range over both data sets: the plot shows the same."""
    found = reproduce_figure(find_drawing("emgnet", 3), write_records(tmp_path)).verdicts
    ranges = [verdict.plotted for verdict in found if verdict.claim == claim]
    assert len(ranges) == 2
    assert min(low for low, _ in ranges) == pytest.approx(claim.printed[0])
    assert max(high for _, high in ranges) == pytest.approx(claim.printed[1])


def test_claims_are_told_when_they_are_not_as_described():
    good = dict.fromkeys(("says", "where", "network", "against"), "text")
    good |= {"quantity": "top1", "unit": "points", "printed": [1, 2.5], "compared": "same_exits", "datasets": ["e"]}
    assert parse_claims([good], "example.yaml")[0].printed == (1.0, 2.5)
    for change, message in (
        ({"quantity": "speed"}, "unknown quantity 'speed'"),
        ({"printed": [2, 1]}, "'printed' is a list"),
        ({"printed": ["1"]}, "'printed' is a list"),
        ({"datasets": []}, "'datasets' is a list"),
        ({"colour": "red"}, "a claim has the fields"),
    ):
        with pytest.raises(ValueError, match=r"^example\.yaml, claims row 2: ") as error:
            parse_claims([good, good | change], "example.yaml")
        assert message in str(error.value)


def test_confirmed_where_the_interval_lies_above_0_at_every_exit(tmp_path):
    found = verdicts(with_results(tmp_path))
    assert found["sdresnet56_cifar"].word == "confirmed"
    assert [comparison.where for comparison in found["sdresnet56_cifar"].comparisons] == ["exit 1", "exit 2", "exit 3"]
    assert [comparison.value for comparison in found["sdresnet56_cifar"].comparisons] == pytest.approx([9, 2.5, 2])


@pytest.mark.parametrize(
    ("third", "word", "reason"),
    [
        (6950, "not confirmed", "the interval includes 0 at exit 3 (seeds 0, 1)"),
        (7400, "contradicted", "the interval lies below 0 at exit 3 (seeds 0, 1)"),
    ],
)
def test_not_confirmed_where_one_exit_does_not_hold(tmp_path, third, word, reason):
    verdict = verdicts(with_results(tmp_path, scanresnet56_cifar=(5000, 6600, third, 6900)))["scanresnet56_cifar"]
    assert (verdict.word, verdict.reason) == (word, reason)
    assert [comparison.holds for comparison in verdict.comparisons] == [True, True, False]


@pytest.mark.parametrize(
    ("epochs", "images", "word"),
    [
        (3, 45_000, "not testable at this budget"),
        (200, 20_000, "not testable at this budget"),  # the epochs alone say nothing
        (99, 50_000, "not testable at this budget"),
        (100, 50_000, "confirmed"),
    ],
)
def test_a_short_training_decides_nothing(tmp_path, epochs, images, word):
    verdict = verdicts(with_results(tmp_path, {"epochs": epochs, "images": images}))["sdresnet56_cifar"]
    assert verdict.word == word
    assert len(verdict.comparisons) == 3
    if word != "confirmed":
        assert f"trained for {epochs} epochs of {images:,} images, and the recipe takes 200 epochs" in verdict.reason
        assert "At this budget it holds: the interval lies above 0 everywhere" in verdict.reason


def test_one_seed_decides_nothing(tmp_path):
    verdict = verdicts(with_results(tmp_path, seeds=(0,)))["sdresnet56_cifar"]
    assert verdict.word == "not testable at this budget"
    assert verdict.reason == (
        "one seed does not show how much chance there is in training. "
        "At this budget it holds: the interval lies above 0 everywhere (seed 0)"
    )


def test_seeds_that_disagree_widen_the_interval(tmp_path):
    """By each seed alone the difference at exit 3 would be shown, once on this side of 0 and once on the other."""
    with_results(tmp_path, seeds=(0,))
    write_record(tmp_path, "emgnet56_cifar", (6100, 6800, 6700, 7050), seed=1, name="a", **PAPERS_BUDGET)
    write_record(tmp_path, "sdresnet56_cifar", (5200, 6550, 7000, 6850), seed=1, name="b", **PAPERS_BUDGET)
    verdict = verdicts(tmp_path)["sdresnet56_cifar"]
    assert (verdict.word, verdict.reason) == (
        "not confirmed",
        "the interval includes 0 at exit 3 (seeds 0, 1)",
    )
    assert [comparison.value for comparison in verdict.comparisons] == pytest.approx([9, 2.5, -0.5])
    spread = t.ppf(0.975, df=1) * 1.5  # of two seeds that lie 3 points apart, the standard error is half of that
    third = verdict.comparisons[2]
    images = [wilson_interval(round(100 * mean), 10_000) for mean in (68.5, 69.0)]
    chance = [((each.value - each.low) ** 2, (each.high - each.value) ** 2) for each in images]
    other_spread = t.ppf(0.975, df=1) * 1.0  # SD-ResNet's lie 2 points apart
    half = (spread**2 + chance[0][0] + other_spread**2 + chance[1][1]) ** 0.5
    assert third.low == pytest.approx(-0.5 - half)


def test_not_testable_without_a_record_or_with_unequal_ones(tmp_path):
    found = verdicts(write_records(tmp_path / "some", without=("scanresnet56_cifar",)))
    assert found["scanresnet56_cifar"].word == "not testable"
    assert found["scanresnet56_cifar"].reason == "there is no record of SCAN"
    unequal = write_records(tmp_path / "unequal", without=("sdresnet56_cifar",))
    write_record(unequal, "sdresnet56_cifar", CORRECT["sdresnet56_cifar"], epochs=4)
    assert "3 epochs of 45,000 images" in verdicts(unequal)["sdresnet56_cifar"].reason
    assert verdicts(unequal)["sdresnet56_cifar"].word == "not testable"
    seeds = write_records(tmp_path / "seeds", without=("sdresnet56_cifar",))
    write_record(seeds, "sdresnet56_cifar", CORRECT["sdresnet56_cifar"], seed=1)
    assert verdicts(seeds)["sdresnet56_cifar"].reason == (
        "there is no seed with which both were trained: EMGNet seed 0 has no partner of SD-ResNet, "
        "SD-ResNet seed 1 has no partner of EMGNet"
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"epochs": 150},
            "they were trained or tested unequally: 200 epochs of 50,000 images (tested on 10,000) and 150",
        ),
        ({"images": 45_000}, "they were trained or tested unequally"),
        ({"fingerprint": "decaf"}, "the data's fingerprint is c0ffee and decaf"),
    ],
)
def test_seeds_that_were_trained_otherwise_are_not_put_together(tmp_path, changes, reason):
    with_results(tmp_path, seeds=(0,))
    for network in ("emgnet56_cifar", "sdresnet56_cifar"):
        write_record(tmp_path, network, CORRECT[network], seed=1, name=f"{network}-1", **(PAPERS_BUDGET | changes))
    verdict = verdicts(tmp_path)["sdresnet56_cifar"]
    assert verdict.word == "not testable"
    assert reason in verdict.reason


def test_while_a_seed_of_the_budget_is_missing_a_figure_decides_nothing(tmp_path):
    drawing = replace(find_drawing("emgnet", 3), seeds=(0, 1, 2))
    found = reproduce_figure(drawing, with_results(tmp_path)).verdicts
    (verdict,) = (each for each in found if (each.claim.against, each.dataset) == ("sdresnet56_cifar", "cifar10"))
    assert verdict.word == "not testable"
    assert verdict.reason.startswith("not both are trained yet with seed 2. Without that the interval lies above 0")


def test_a_seed_without_a_partner_is_named(tmp_path):
    with_results(tmp_path)
    write_record(tmp_path, "emgnet56_cifar", (100, 100, 100, 100), seed=2, name="a", **PAPERS_BUDGET)
    write_record(tmp_path, "sdresnet56_cifar", CORRECT["sdresnet56_cifar"], seed=3, name="b", **PAPERS_BUDGET)
    verdict = verdicts(tmp_path)["sdresnet56_cifar"]
    alone = ("EMGNet seed 2 has no partner of SD-ResNet", "SD-ResNet seed 3 has no partner of EMGNet")
    assert (verdict.word, verdict.seeds, verdict.without_partner) == ("confirmed", (0, 1), alone)
    assert verdict.reason == f"the interval lies above 0 everywhere (seeds 0, 1; {alone[0]}; {alone[1]})"
    notes = reproduce_figure(find_drawing("emgnet", 3), tmp_path).notes
    assert set(alone) < set(notes)
    assert "EMGNet seed 2 has no partner of SCAN" in notes
    assert len(notes) == len(set(notes))


def test_a_single_network_meets_the_exit_of_about_its_macs(tmp_path):
    verdict = verdicts(with_results(tmp_path))["resnet20_cifar"]
    (comparison,) = verdict.comparisons
    assert comparison.where == "exit 2 (41.0 M MACs against 40.8 M)"
    assert comparison.value == pytest.approx(68 - 65)
    # By the points of the paper it is the first exit, at 45 M against 41 M.
    assert verdict.plotted == pytest.approx((91.6 - 91.2,) * 2)
    assert nearest_exit({1: 45e6, 2: 61e6, "ensemble": 41e6}, 41e6) == 1
    assert ABOUT_THE_SAME > 45 / 41


def test_a_single_network_of_other_macs_meets_no_exit(tmp_path):
    files = list((with_results(tmp_path) / "resnet20_cifar").glob("*/results.json"))
    for macs, word in ((17_700_000, "holds for our layouts"), (17_500_000, "not testable")):
        # The nearest exit needs 22.0 M.
        for file in files:
            file.write_text(json.dumps(json.loads(file.read_text()) | {"macs": macs, "test": SURE}))
        assert verdicts(tmp_path)["resnet20_cifar"].word == word


def test_all_other_claims_about_accuracy_need_other_trainings(tmp_path):
    for verdict in reproduce_figure(find_drawing("emgnet", 3), write_records(tmp_path)).verdicts:
        if verdict.claim.quantity == "top1" and verdict.dataset != "cifar10":
            assert (verdict.word, verdict.comparisons) == ("not testable", ())
