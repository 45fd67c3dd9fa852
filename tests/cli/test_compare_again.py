"""The same folder a second time, other seeds, other settings, and where results go by default."""

import importlib
import json
import math
import statistics

import pytest
import yaml
from command_line import QUICK, SMALLEST, TREES, leannet, make_images, make_trees, record_of, refusal, table_of
from safetensors.torch import load_file
from scipy.stats import binomtest, t

OTHER = "test_efficientnet"
COMPARE = importlib.import_module("leannet.report.compare")  # by its path: the package has a function of that name


def weights(folder, network=SMALLEST, seed=0):
    return load_file(folder / "networks" / network / f"seed-{seed}" / "model.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one)


@pytest.fixture
def trained(monkeypatch):
    """Return a list that grows by (network, seed) with every training."""
    real, calls = COMPARE.train_run, []

    def train_run(network, seed, *arguments):
        calls.append((network, seed))
        return real(network, seed, *arguments)

    monkeypatch.setattr(COMPARE, "train_run", train_run)
    return calls


def without_times(answer):
    """Return the rows without the two latencies, which are measured anew."""
    return [row[:9] + row[11:] for row in table_of(answer)]


def test_only_what_is_new_is_trained(trees, tmp_path, trained):
    arguments = ("--data", trees, *QUICK, "--output", tmp_path / "out")
    first = leannet("compare", SMALLEST, *arguments)
    before = weights(tmp_path / "out")
    again = leannet("compare", SMALLEST, *arguments)
    assert trained == [(SMALLEST, 0)]
    assert f"{SMALLEST}, seed 0: top-1 {table_of(first)[0][2]} %, kept from before" in again.err
    assert without_times(again) == without_times(first)

    more = leannet("compare", SMALLEST, OTHER, *arguments)
    assert trained == [(SMALLEST, 0), (OTHER, 0)]
    assert {row[1] for row in table_of(more)} == {SMALLEST, OTHER}
    seeds = leannet("compare", SMALLEST, OTHER, *arguments, "--seeds", "0,1")
    assert trained == [(SMALLEST, 0), (OTHER, 0), (SMALLEST, 1), (OTHER, 1)]
    assert "Interval: Student over 2 seeds and Wilson over images, squared and added, 15 held-out images." in seeds.out
    assert same(weights(tmp_path / "out"), before)


def test_what_was_compared_in_the_folder_before_stays_in_the_table(trees, tmp_path, trained):
    arguments = ("--data", trees, *QUICK, "--output", tmp_path / "out")
    leannet("compare", SMALLEST, *arguments, "--seeds", "0,1")
    answer = leannet("compare", OTHER, *arguments)
    assert trained == [(SMALLEST, 0), (SMALLEST, 1), (OTHER, 0)]
    assert {row[1] for row in table_of(answer)} == {SMALLEST, OTHER}
    rows = {row["network"]: row for row in json.loads((tmp_path / "out" / "results.json").read_text())["rows"]}
    assert {name: row["seeds"] for name, row in rows.items()} == {SMALLEST: [0, 1], OTHER: [0]}
    assert all(row["latency"] for row in rows.values())
    arguments = yaml.safe_load((tmp_path / "out" / "args.yaml").read_text())
    assert (arguments["networks"], arguments["seeds"]) == ([OTHER, SMALLEST], [0, 1])


def test_records_without_weights_or_circumstances_stay(trees, tmp_path):
    """As they lie in a repository, or as an earlier version left them."""
    output = tmp_path / "out"
    arguments = ("--data", trees, *QUICK, "--output", output)
    leannet("compare", SMALLEST, *arguments)
    for name in ("config.json", "model.safetensors", "environment.json"):
        (output / "networks" / SMALLEST / "seed-0" / name).unlink()
    described = json.loads((output / "environment.json").read_text()) | {"leannet": "0.0.7"}
    (output / "environment.json").write_text(json.dumps(described))
    answer = leannet("compare", OTHER, *arguments)
    assert answer.code == 0
    rows = {row["network"]: row for row in json.loads((output / "results.json").read_text())["rows"]}
    assert (bool(rows[OTHER]["latency"]), rows[SMALLEST]["latency"]) == (True, None)
    page = (output / "report.html").read_text()
    assert f"{SMALLEST}, seed-0: leannet 0.0.7" in page.partition("trained otherwise")[2]
    assert "no latency of some networks" in page


def test_a_report_tells_of_trainings_by_another_version(trees, tmp_path):
    output = tmp_path / "out"
    arguments = ("compare", SMALLEST, "--data", trees, *QUICK, "--output", output)
    leannet(*arguments)
    assert "trained otherwise" not in (output / "report.html").read_text()
    path = output / "networks" / SMALLEST / "seed-0" / "environment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"leannet": "0.0.7"}))
    leannet(*arguments)
    page = (output / "report.html").read_text()
    assert f"{SMALLEST}, seed-0: leannet 0.0.7" in page.partition("trained otherwise")[2]


def test_interval_of_several_seeds_knows_seeds_and_images(trees, tmp_path):
    output = tmp_path / "out"
    answer = leannet("compare", SMALLEST, "--data", trees, *QUICK, "--output", output, "--seeds", "0,1,2", "--lr", 0.01)
    accuracies = [100 * record_of(output, seed=seed)["correct"] / 15 for seed in (0, 1, 2)]
    mean, error = statistics.mean(accuracies), statistics.stdev(accuracies) / 3**0.5
    low, high = (mean, mean) if error == 0 else t.interval(0.95, df=2, loc=mean, scale=error)
    chosen = binomtest(round(mean / 100 * 15), 15).proportion_ci(method="wilson")
    middle = 100 * round(mean / 100 * 15) / 15
    low, high = max(low, 0), min(high, 100)
    ends = ((mean - low, middle - 100 * chosen.low), (high - mean, 100 * chosen.high - middle))
    below, above = (math.hypot(*widths) for widths in ends)
    [[_, _, *printed]] = [row[:5] for row in table_of(answer)]
    wanted = (mean, max(mean - below, 0), min(mean + above, 100))
    assert [float(value) for value in printed] == pytest.approx(wanted, abs=0.006)
    [row] = json.loads((output / "results.json").read_text())["rows"]
    assert (row["seeds"], row["correct"]) == ([0, 1, 2], [record_of(output, seed=n)["correct"] for n in (0, 1, 2)])


def test_weights_are_a_function_of_the_seed(trees, tmp_path):
    for folder in ("one", "two"):
        leannet("compare", SMALLEST, "--data", trees, *QUICK, "--output", tmp_path / folder, "--seeds", "0,1")
    one, two = tmp_path / "one", tmp_path / "two"
    for seed in (0, 1):
        assert same(weights(one, seed=seed), weights(two, seed=seed))
    assert not same(weights(one, seed=0), weights(one, seed=1))


def test_weights_do_not_depend_on_what_was_trained_before(trees, tmp_path):
    arguments = ("--data", trees, *QUICK, "--output")
    leannet("compare", SMALLEST, *arguments, tmp_path / "alone")
    leannet("compare", OTHER, SMALLEST, *arguments, tmp_path / "second", "--workers", 2)
    assert same(weights(tmp_path / "alone"), weights(tmp_path / "second"))


def test_other_settings_do_not_mix(trees, tmp_path):
    output = tmp_path / "out"
    arguments = ("compare", SMALLEST, "--data", trees, *QUICK, "--output", output)
    assert leannet(*arguments).code == 0
    record = record_of(output)
    said = refusal(*arguments, "--lr", 0.1, "--hflip", 0)
    assert f"{output} holds another comparison" in said
    assert "lr 0.002, now 0.1" in said
    assert "hflip 0.5, now 0.0" in said
    assert "momentum" not in said
    assert "Choose another --output" in said
    elsewhere = make_trees(tmp_path / "others", train=2, test=2)
    said = refusal("compare", SMALLEST, "--data", elsewhere, *QUICK, "--output", output)
    assert f"data {trees}, now {elsewhere}" in said
    assert "bad_images error, now skip" in refusal(*arguments, "--bad-images", "skip")
    assert record_of(output) == record


def test_default_folder(trees, tmp_path, monkeypatch):
    arguments = ("compare", SMALLEST, "--data", trees, *QUICK)
    places = tmp_path / "runs" / "compare"
    for _ in range(2):
        assert leannet(*arguments).code == 0
    assert [path.name for path in places.iterdir()] == ["trees"]
    leannet(*arguments, "--lr", 0.1)
    assert sorted(path.name for path in places.iterdir()) == ["trees", "trees-2"]
    leannet(*arguments, "--name", "mine")
    assert (places / "mine" / "results.csv").is_file()
    monkeypatch.setenv("LEANNET_RUNS", str(tmp_path / "elsewhere"))
    leannet(*arguments)
    assert (tmp_path / "elsewhere" / "compare" / "trees" / "results.csv").is_file()


def test_default_folder_of_the_current_folder(tmp_path, monkeypatch):
    make_trees(tmp_path / "trees", train=2, test=2)
    monkeypatch.chdir(tmp_path / "trees")
    monkeypatch.setenv("LEANNET_RUNS", str(tmp_path / "runs"))
    assert leannet("compare", SMALLEST, "--data", ".", *QUICK).code == 0
    assert (tmp_path / "runs" / "compare" / "trees" / "results.csv").is_file()


def test_held_out_images_stay_the_same_when_seeds_are_added(tmp_path):
    data = make_images(tmp_path / "flat", dict.fromkeys(TREES, 10))
    arguments = ("compare", SMALLEST, "--data", data, *QUICK, "--output", tmp_path / "out", "--seeds")
    leannet(*arguments, "0")
    before = json.loads((tmp_path / "out" / "splits.json").read_text())
    leannet(*arguments, "1,0")
    assert json.loads((tmp_path / "out" / "splits.json").read_text()) == before


def test_changed_images_are_another_comparison(tmp_path):
    data = make_trees(tmp_path / "trees", train=4, test=2)
    arguments = ("compare", SMALLEST, "--data", data, *QUICK, "--output", tmp_path / "out")
    leannet(*arguments)
    make_images(data, {"test/ash": 7})
    assert "holds another comparison" in refusal(*arguments)


@pytest.mark.parametrize("text", ["", "task: classify\n"])
def test_settings_of_another_program(trees, tmp_path, text):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "args.yaml").write_text(text)
    assert str(tmp_path / "out") in refusal("compare", SMALLEST, "--data", trees, *QUICK, "--output", tmp_path / "out")


def test_damaged_record_is_named(trees, tmp_path):
    arguments = ("compare", SMALLEST, "--data", trees, *QUICK, "--output", tmp_path / "out")
    leannet(*arguments)
    path = tmp_path / "out" / "networks" / SMALLEST / "seed-0" / "record.json"
    path.write_text("{")
    said = refusal(*arguments)
    assert f"cannot read {path}: " in said
    assert said.endswith("Remove this file to train the network again.")
    path.unlink()
    assert leannet(*arguments).code == 0
