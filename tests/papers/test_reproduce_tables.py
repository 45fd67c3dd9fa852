"""The rule that judges the claims of tables, on records of known truth; and the rows, printed and ours."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import t
from table_records import plan_of, verdict, write_reproduction

from leannet.measure import mean_interval
from leannet.papers import load_paper, published
from leannet.papers.claims import load_claims
from leannet.papers.tables import find_tables, judge_claims, load_experiment, make_rows, read_evidence
from leannet.papers.tables.evidence import count
from leannet_runtime import UserError

DMP, ABLATION, BASE = "efficientnet_b0_dmp", "efficientnet_b0_maxpool", "efficientnet_b0"
PAPERS = ("dmp", "cse", "sm_v2")
# Where the text of the paper gives another number than its own table.
TEXT_DIFFERS = {("sm_v2", "mobilenetv2_100", "gpu_ms"), ("sm_v2_2_2", "mobilenetv2_100", "macs")}
AT_LEAST = {("sm_v2", "mobilenetv2_100", "macs")}  # "more than half"


@pytest.fixture(autouse=True)
def _no_counting(request, monkeypatch):
    """Leave the building of networks to the tests that are about counts."""
    if not request.function.__name__.startswith("test_counts"):
        for place in ("verdicts", "rows"):
            monkeypatch.setattr(f"leannet.papers.tables.{place}.count", lambda *_: (1_000_000, 50_000_000))


def score_limits(share, images):
    """Wilson's limits as the roots of the score equation, not by the formula for them."""
    z = 1.959963984540054

    def distance(p):
        return abs(share - p) - z * (p * (1 - p) / images) ** 0.5

    return brentq(distance, 1e-9, share - 1e-12), brentq(distance, share + 1e-12, 1 - 1e-9)


def test_interval_of_a_mean_squares_and_adds_both_kinds_of_chance():
    accuracies = [61.0, 62.0, 63.0]
    low, high = score_limits(0.62, 10_000)
    seeds_low, seeds_high = t.interval(0.95, df=2, loc=62, scale=1 / 3**0.5)
    found = mean_interval(accuracies, 10_000)
    assert found.value == pytest.approx(62)
    assert found.low == pytest.approx(62 - ((62 - 100 * low) ** 2 + (62 - seeds_low) ** 2) ** 0.5, abs=1e-6)
    assert found.high == pytest.approx(62 + ((100 * high - 62) ** 2 + (seeds_high - 62) ** 2) ** 0.5, abs=1e-6)
    single = mean_interval([62.0], 10_000)
    assert (single.low, single.high) == pytest.approx((100 * low, 100 * high), abs=1e-6)


def test_interval_of_a_mean_covers_the_truth():
    """Seeds spread by 1 point around 70 %, all judged on the same 2,000 images, which are drawn anew each time."""
    random, covered, images = np.random.default_rng(0), 0, 2000
    for _ in range(300):
        luck = random.normal(0, 100 * (0.7 * 0.3 / images) ** 0.5)
        interval = mean_interval((70 + luck + random.normal(0, 1.0, 3)).tolist(), images)
        covered += interval.low <= 70 <= interval.high
    assert covered >= 0.93 * 300


@pytest.mark.parametrize(
    ("dmp", "word", "told"),
    [
        ((9300, 9310, 9320), "confirmed", "it holds"),
        ((8600, 8610, 8620), "contradicted", "the opposite holds"),
        ((8910, 8920, 8930), "not confirmed", "nothing is shown: the interval includes 0"),
        ((8600, 9300, 9800), "not confirmed", "nothing is shown: the interval includes 0"),  # chance in training
    ],
)
def test_accuracy_claims_at_the_papers_own_length(tmp_path, dmp, word, told):
    plan = plan_of("dmp", tmp_path)
    write_reproduction(plan, {DMP: dmp, ABLATION: (8900, 8910, 8920)})
    found = verdict(plan, "Both together are more accurate than max-pooling")
    assert (found.word, found.reason, found.seeds) == (word, told, (0, 1, 2))
    assert found.comparisons[0].value == pytest.approx(sum(dmp) / 300 - 89.1)
    assert found.plotted == pytest.approx((89.33 - 89.12,) * 2)


@pytest.mark.parametrize(
    ("mix", "word"),
    [(9000, "confirmed"), (8970, "not confirmed"), (8700, "contradicted"), (9500, "confirmed")],
)
def test_a_margin_bounds_what_counts_as_not_less(tmp_path, mix, word):
    plan = plan_of("cse", tmp_path)
    write_reproduction(plan, {"mobilenetv2_cse": mix, "mobilenetv2_optimised": 9000})
    assert verdict(plan, "The mix is as accurate as the optimised").word == word


def test_a_claim_of_less_is_the_mirror_image(tmp_path):
    plan = plan_of("dmp", tmp_path)
    write_reproduction(plan, {DMP: 8900, BASE: 9300})
    says = "Duplicate Max-pooling is less accurate"
    assert verdict(plan, says).word == "confirmed"
    plan = plan_of("dmp", tmp_path / "other")
    write_reproduction(plan, {DMP: 9300, BASE: 8900})
    assert verdict(plan, says).word == "contradicted"


def test_small_budgets_and_other_data_decide_nothing_but_are_told(tmp_path):
    plan = plan_of("dmp", tmp_path / "small", "small")
    write_reproduction(plan, {DMP: 6000, ABLATION: 5000})
    found = verdict(plan, "Both together are more accurate than max-pooling")
    assert found.word == "not testable at this budget"
    assert found.reason == (
        "trained for 4 epochs of 10,000 images, and the recipe takes 200 epochs of 50,000 images. "
        "At this budget it holds"
    )
    other = verdict(plan, "Both together are more accurate than max-pooling", "imagenette")
    assert other.word == "not testable"
    assert "trained on CIFAR-10 (4 epochs of 10,000 images), and not on Imagenette. There it holds" in other.reason


def test_while_a_seed_of_the_budget_is_missing_nothing_is_decided(tmp_path):
    plan = plan_of("dmp", tmp_path)
    write_reproduction(plan, {DMP: 9300, ABLATION: 8900})
    for network in (DMP, ABLATION):
        (tmp_path / network / "seed-2" / "results.json").unlink()
    found = verdict(plan, "Both together are more accurate than max-pooling")
    assert (found.word, found.reason) == ("not testable", "not both are trained yet with seed 2. Without that it holds")
    (tmp_path / DMP / "seed-1" / "results.json").unlink()
    assert "with other seeds" in verdict(plan, "Both together are more accurate than max-pooling").reason


@pytest.mark.parametrize("paper", PAPERS)
def test_every_claim_has_a_verdict_without_any_record(paper, tmp_path):
    found = judge_claims(read_evidence(plan_of(paper, tmp_path)))
    assert [(each.claim, each.dataset) for each in found] == [
        (claim, dataset) for claim in load_claims(paper) for dataset in claim.datasets
    ]
    assert all(each.word == "not testable" for each in found if each.claim.quantity not in ("params", "macs"))
    assert all(each.plotted for each in found if each.claim.compared == "networks")


@pytest.mark.parametrize("paper", PAPERS)
def test_printed_numbers_of_claims_are_those_of_the_tables(paper, tmp_path):
    verdicts = judge_claims(read_evidence(plan_of(paper, tmp_path)))
    for claim in load_claims(paper):
        if claim.compared == "scaling":
            continue
        found = [each.plotted for each in verdicts if each.claim == claim]
        ends = (min(low for low, _ in found), max(high for _, high in found))
        key = (claim.network, claim.against, claim.quantity)
        off = 4 if key in TEXT_DIFFERS else 8 if key in AT_LEAST else 0.5 if claim.unit == "%" else 0.001
        printed = (claim.printed[0], claim.printed[-1])
        if claim.unit == "%" and key not in TEXT_DIFFERS | AT_LEAST:
            off = max(off * (round(claim.printed[0]) == claim.printed[0]), 0.1)
            off = 0.9 if key == ("sm_v2_2_2", "sm_v2", "macs") else off  # "about 50 %"
        assert ends == pytest.approx(printed, abs=off), claim.says


@pytest.mark.parametrize("paper", PAPERS)
def test_rows_hold_every_printed_figure_of_a_table_once(paper, tmp_path):
    evidence = read_evidence(plan_of(paper, tmp_path))
    for table in find_tables(paper):
        shown = [figure for row in make_rows(evidence, table) for figure in row.published.values()]
        printed = [figure for figure in load_paper(paper).figures if figure.table == table]
        assert sorted(map(repr, shown)) == sorted(map(repr, printed))


def test_ours_stand_beside_the_data_set_that_they_were_trained_on(tmp_path):
    plan = plan_of("dmp", tmp_path)
    write_reproduction(plan, {DMP: (9000, 9010, 9020)})
    rows = make_rows(read_evidence(plan), "Table 2")
    ours = {(row.network, row.dataset): row for row in rows if row.top1}
    assert set(ours) == {(DMP, "cifar10")}
    assert ours[DMP, "cifar10"].difference == pytest.approx(90.1 - 89.33)


def test_quoted_accuracies_stay_quoted_and_other_data_have_no_difference(tmp_path):
    plan = plan_of("sm_v2", tmp_path)
    write_reproduction(plan, {"mobilenetv2_100": 9000, "sm_v2": 8900})
    evidence = read_evidence(plan)
    assert all(row.top1 is None for row in make_rows(evidence, "Table 2"))
    rows = {row.network: row for row in make_rows(evidence, "Table 3")}
    assert rows["sm_v2"].top1.value == pytest.approx(89)
    assert (rows["sm_v2"].difference, rows["sm_v2_x2nr"].top1) == (None, None)
    assert rows["sm_v2"].published_ratio["cpu_ms"] == pytest.approx(10.2 / 14.6)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"fields": {"lr": 0.5}}, "other lr"), ({"fields": {"epochs": 3}}, "other epochs")],
)
def test_records_of_another_recipe_are_refused(tmp_path, change, message):
    plan = plan_of("dmp", tmp_path)
    write_reproduction(plan, {DMP: 9000}, **change)
    with pytest.raises(UserError, match=message):
        read_evidence(plan)


def test_records_of_another_budget_or_paper_are_refused(tmp_path):
    write_reproduction(plan_of("dmp", tmp_path, "small"), {})
    for paper, budget in (("dmp", "full"), ("cse", "small")):
        with pytest.raises(UserError, match="of dmp, budget small"):
            read_evidence(plan_of(paper, tmp_path, budget))


@pytest.mark.parametrize("paper", ["dmp", "cse"])
def test_counts_of_claims_are_the_printed_ones(paper, tmp_path):
    found = [each for each in judge_claims(read_evidence(plan_of(paper, tmp_path))) if each.claim.quantity == "params"]
    words: dict[str, set[str]] = {}
    for each in found:
        words.setdefault(each.claim.network, set()).add(each.word)
    for network in {DMP, ABLATION, "mobilenetv2_cse"} & words.keys():
        assert words[network] == {"confirmed"}
    # No reading of the paper gives its count of this network.
    assert words.get("mobilenetv2_cse_only", {"holds for our layouts"}) <= {
        "holds for our layouts",
        "does not hold for our layouts",
    }
    for figure in published(quantity="params"):
        if figure.paper == paper and figure.network == DMP:
            assert count(DMP, 10, 224)[0] == figure.value


def test_tables_of_a_paper():
    assert find_tables("dmp") == ("Table 1", "Table 2")
    assert find_tables("emgnet") == ()
    with pytest.raises(UserError, match="Known: --table 2, --table 3, --table 4"):
        find_tables("sm_v2", 1)
    with pytest.raises(UserError, match="Known: --figure 3"):
        find_tables("emgnet", 1)
    for paper in PAPERS:
        covered = [table for timing in load_experiment(paper).timings for table in timing.tables]
        assert sorted(covered) == sorted(find_tables(paper))


def test_claims_of_one_table_are_those_that_name_it(tmp_path):
    evidence = read_evidence(plan_of("cse", tmp_path))
    says = [verdict.claim.where for verdict in judge_claims(evidence, ("Table 6",))]
    assert says == ["section 3, Tables 5 and 6"] * 2  # on two data sets; "section 6" is no table
