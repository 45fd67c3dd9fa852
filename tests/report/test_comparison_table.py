"""The table of a comparison against brute force, and its two files against each other."""

import csv
import json
import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, t

from leannet.measure import Latency
from leannet.report import PARETO_RULE, RunRecord, comparison_rows
from leannet.report.table import write_results

TOTAL = 30


def record(network, correct, macs, seed=0, parameters=1000):
    return RunRecord(
        network=network,
        seed=seed,
        correct=correct,
        total=TOTAL,
        epochs=1,
        loss=1.0,
        train_seconds=2.0,
        images_per_second=10.0 * (seed + 1),
        parameters=parameters,
        macs=macs,
        uncounted=(),
    )


# Few different values, so that networks are often equal in one or both.
networks = st.lists(st.tuples(st.lists(st.integers(0, 6), min_size=3, max_size=3), st.integers(1, 4)), max_size=7)


def records_of(drawn, seeds):
    return [
        record(f"network{number}", correct[seed], macs, seed)
        for seed in range(seeds)
        for number, (correct, macs) in enumerate(drawn)
    ]


def accuracy(row):
    """Return the exact accuracy: floating point must not decide between equals."""
    return Fraction(sum(row.correct), TOTAL * len(row.correct))


def on_the_front(row, rows):
    """Say whether no other row is nowhere worse and somewhere better."""
    for other in rows:
        worse = accuracy(other) < accuracy(row) or other.macs > row.macs
        better = accuracy(other) > accuracy(row) or other.macs < row.macs
        if better and not worse:
            return False
    return True


@given(networks)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_order_and_front_of_one_seed(drawn):
    rows = comparison_rows(records_of(drawn, 1), {})
    assert sorted(row.network for row in rows) == [f"network{n}" for n in range(len(drawn))]
    keys = [(-accuracy(row), row.macs) for row in rows]
    assert keys == sorted(keys)
    for row in rows:
        assert row.pareto == on_the_front(row, rows)


def test_equal_accuracies_in_another_order_of_seeds_are_equal():
    """1, 1 and 5 right answers of 30 are as many as 5, 1 and 1: the network with fewer MACs stands alone."""
    for drawn in ([((1, 1, 5), 1), ((5, 1, 1), 2)], [((5, 1, 1), 1), ((1, 1, 5), 2)]):
        rows = comparison_rows(records_of(drawn, 3), {})
        assert [(row.macs, row.pareto) for row in rows] == [(1, True), (2, False)]


def test_columns():
    latency = Latency(1.5, 2.5, repeats=30, threads=1)
    [row] = comparison_rows([record("a", 12, 5, seed=0), record("a", 15, 5, seed=2)], {"a": latency})
    assert (row.seeds, row.correct, row.total, row.latency) == ((0, 2), (12, 15), TOTAL, latency)
    assert (row.parameters, row.macs, row.images_per_second) == (1000, 5, 20.0)
    low, high = t.interval(0.95, df=1, loc=45, scale=5)
    chosen = binomtest(round(0.45 * TOTAL), TOTAL).proportion_ci(method="wilson")
    ends = 45 - math.hypot(45 - low, 45 - 100 * chosen.low), 45 + math.hypot(high - 45, 100 * chosen.high - 45)
    assert (row.top1.low, row.top1.value, row.top1.high) == pytest.approx(
        (max(ends[0], 0), 45, min(ends[1], 100)), 0.02
    )
    assert row.top1.method == "Student over 2 seeds and Wilson over images, squared and added"
    [equal] = comparison_rows([record("a", 12, 5, seed=seed) for seed in (0, 1)], {})
    assert equal.top1.low < equal.top1.value < equal.top1.high  # that seeds agree says nothing of other images
    [row] = comparison_rows([record("a", 12, 5)], {})
    interval = binomtest(12, TOTAL).proportion_ci(method="wilson")
    assert (row.top1.low, row.top1.high) == pytest.approx((100 * interval.low, 100 * interval.high))
    assert (row.top1.method, row.latency) == ("Wilson, one seed", None)


def test_files_agree(tmp_path):
    records = [
        record("sm_v2", 20, 300, parameters=2_458_272),
        record("a,b", 10, 100),
        record("torchvision/x", 10, 200),
    ]
    latencies = {"sm_v2": Latency(1.23456, 2.5, repeats=30, threads=1)}
    rows = comparison_rows(records, latencies)
    write_results(rows, tmp_path, {"data": {"name": "tree ü"}})
    with (tmp_path / "results.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    written = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert written["pareto_rule"] == PARETO_RULE
    assert written["data"] == {"name": "tree ü"}
    assert len(lines) == len(written["rows"]) == 3
    for line, row in zip(lines, written["rows"], strict=True):
        assert line["network"] == row["network"]
        for column, value in (("top1", "value"), ("top1_low", "low"), ("top1_high", "high")):
            assert float(line[column]) == pytest.approx(row["top1"][value], abs=5e-4)
        assert line["interval"] == row["top1"]["method"]
        assert [int(seed) for seed in line["seeds"].split()] == row["seeds"]
        assert (int(line["parameters"]), int(line["macs"])) == (row["parameters"], row["macs"])
        assert bool(int(line["pareto"])) is row["pareto"]
        assert float(line["train_images_per_second"]) == row["images_per_second"]
        median = row["latency"]["median_ms"] if row["latency"] else None
        assert line["latency_median_ms"] == (f"{median:.3f}" if median else "")
        assert line["latency_threads"] == ("1" if median else "")
    assert [line["network"] for line in lines] == ["sm_v2", "a,b", "torchvision/x"]
    assert [line["pareto"] for line in lines] == ["1", "1", "0"]
