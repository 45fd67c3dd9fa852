"""Two networks on the same images: each with its own preprocessing and order of classes, and an honest verdict."""

import json
from math import comb

import numpy as np
import pytest
from command_line import TREES, leannet
from model_folders import make_model_folder, rows_of, truth_of


@pytest.fixture(scope="module")
def network(trees, tmp_path_factory):
    return make_model_folder(tmp_path_factory.mktemp("run") / "best", trees)


@pytest.fixture(scope="module")
def other(trees, tmp_path_factory):
    """Another network, which numbers the classes in another order and wants larger images."""
    return make_model_folder(tmp_path_factory.mktemp("other") / "best", trees, TREES[::-1], seed=1, steps=2, size=24)


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    return tmp_path_factory.mktemp("runs") / "trees"


@pytest.fixture(scope="module")
def answer(network, other, trees, output):
    answer = leannet("evaluate", network, "--data", trees, "--split", "train", "--compare", other, "--output", output)
    assert answer.code == 0, answer.err
    return answer


@pytest.fixture(scope="module")
def results(answer, output):
    return json.loads((output / "results.json").read_text())


def test_each_network_answers_as_it_does_alone(answer, results, output, network, other, trees):
    _, labels, own = truth_of(network, trees, "train")
    _, _, theirs = truth_of(other, trees, "train")
    rows = rows_of(output / "predictions.csv")
    assert [row["predicted"] for row in rows] == [TREES[answer] for answer in own.argmax(axis=1)]
    assert [row["other_predicted"] for row in rows] == [TREES[answer] for answer in theirs.argmax(axis=1)]
    assert [float(row["other_probability"]) for row in rows] == pytest.approx(theirs.max(axis=1).tolist(), abs=1e-4)
    assert [row["other_correct"] == "1" for row in rows] == (theirs.argmax(axis=1) == labels).tolist()
    assert len({row["other_predicted"] for row in rows}) > 1
    accuracy = results["comparison"]["figures"]["top1"]["value"]
    assert accuracy == pytest.approx(100 * np.mean(theirs.argmax(axis=1) == labels))
    assert accuracy != results["figures"]["top1"]["value"]


def test_verdict_is_mcnemars(results, output, network, other):
    rows = rows_of(output / "predictions.csv")
    b = sum(row["correct"] > row["other_correct"] for row in rows)
    c = sum(row["correct"] < row["other_correct"] for row in rows)
    compared = results["comparison"]
    assert (compared["only_first_correct"], compared["only_second_correct"]) == (b, c)
    assert b + c > 0
    tail = sum(comb(b + c, k) for k in range(min(b, c) + 1)) / 2 ** (b + c)
    assert compared["p_value"] == pytest.approx(min(1, 2 * tail))
    assert compared["difference_shown"] is (compared["p_value"] < 0.05)
    difference = compared["top1_difference"]
    assert difference["value"] == pytest.approx(100 * (c - b) / 24)
    assert difference["low"] <= difference["value"] <= difference["high"]
    assert (difference["unit"], compared["test"]) == ("points", "McNemar, exact, two-sided")
    assert compared["model"]["folder"] == str(other)


def test_verdict_is_printed(answer, results, network, other):
    compared = results["comparison"]
    assert f"\n{compared['sentence']}\n" in answer.out
    counts = (
        f"{compared['only_first_correct']} images only {network} gets right, {compared['only_second_correct']} only "
    )
    assert counts + f"{other}." in answer.out
    assert [line for line in answer.out.splitlines() if line in (str(network), str(other))] == [
        str(network),
        str(other),
    ]
    assert f"{other}: 24 images judged" in answer.err


def test_network_against_itself(network, trees):
    compared = json.loads(leannet("evaluate", network, "--data", trees, "--compare", network, "--json").out)[
        "comparison"
    ]
    assert (compared["only_first_correct"], compared["only_second_correct"], compared["p_value"]) == (0, 0, 1)
    assert {compared["top1_difference"][end] for end in ("low", "value", "high")} == {0}
    assert compared["sentence"].startswith("no difference shown: +0.00 points")


def test_class_that_the_split_lacks(network, trees, tmp_path):
    """It is left out of the means, and named wherever they stand."""
    data = tmp_path / "data"
    (data / "test").mkdir(parents=True)
    for name in TREES[:2]:
        (data / "test" / name).symlink_to(trees / "test" / name)
    answer = leannet("evaluate", network, "--data", data, "--output", tmp_path / "out")
    assert answer.code == 0, answer.err
    assert "Balanced accuracy and macro F1 leave out classes without images: cedar." in answer.out
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["data"]["classes_without_images"] == ["cedar"]
    rows = rows_of(tmp_path / "out" / "predictions.csv")
    recalls = [np.mean([row["correct"] == "1" for row in rows if row["label"] == name]) for name in TREES[:2]]
    assert results["figures"]["balanced_accuracy"]["value"] == pytest.approx(100 * np.mean(recalls))
    cedar = rows_of(tmp_path / "out" / "per_class.csv")[2]
    assert (cedar["class"], cedar["images"], cedar["recall"], cedar["f1"]) == ("cedar", "0", "", "")
