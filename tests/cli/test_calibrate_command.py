"""``leannet calibrate`` on a tiny run, evaluate afterwards, and what it refuses."""

import csv
import json
import re

import pytest
import torch
from command_line import leannet as run_command

from leannet import create_network
from leannet.early_exit import ExitPolicy, StagedClassifier, read_policy
from leannet.training import load_saved_network

pytestmark = pytest.mark.slow


def leannet(folder, *arguments):
    """Run a command in a folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return run_command(*arguments)


OTHERS = ("--data", "digits", "--split", "test")
TRAIN = ("train", "resnet20_cifar", "--data", "digits", "--img-size", 16, "--batch-size", 64, "--warmup-epochs", 0)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A network that has learned a little, with exits that have too."""
    folder = tmp_path_factory.mktemp("calibrate")
    assert leannet(folder, *TRAIN, "--epochs", 2, "--output", "plain").code == 0
    more = ("--exits", "stages.0,stages.1", "--epochs", 2, "--freeze", "--output", "exits", "--lr", 0.01)
    found = leannet(folder, "train", "plain/best", "--data", "digits", *more)
    assert found.code == 0, found.err
    return folder


@pytest.fixture(scope="module")
def calibrated(run):
    found = leannet(run, "calibrate", "exits/best", "--max-drop", 5, "--rounds", 3, "--output", "calibrated")
    assert found.code == 0, found.err
    return run, found


def results(folder):
    return json.loads((folder / "results.json").read_text())


def test_it_says_what_it_chose_and_what_comes_next(calibrated):
    run, found = calibrated
    assert "leave here %" in found.out
    assert "times less" in found.out
    assert "Next: leannet evaluate exits/best" in found.out
    record = results(run / "calibrated")
    assert record["split"] == "validation"
    assert record["images"] == 143  # a tenth of what is left of the digits after the test part
    assert record["difference_points"]["value"] >= -5
    assert sum(record["shares"]) == pytest.approx(1)
    assert record["mean_macs"] <= record["full_macs"]
    rows = list(csv.DictReader((run / "calibrated" / "curve.csv").open()))
    assert float(rows[0]["mean_macs"]) == pytest.approx(record["exit_macs"][0], rel=1e-4)
    assert (run / "calibrated" / "curve.svg").read_text().startswith("<?xml")


def test_the_model_folder_knows_its_policy_and_still_loads(calibrated):
    run, _ = calibrated
    policy = read_policy(run / "exits" / "best", 3)
    assert policy.as_config() == results(run / "calibrated")["policy"]
    assert len(policy.temperatures) == 3
    network = create_network(str(run / "exits" / "best"))
    assert network.num_exits == 3
    config = json.loads((run / "exits" / "best" / "config.json").read_text())
    assert config["label_names"] == [str(digit) for digit in range(10)]
    assert config["early_exit"]["calibrated"]["images"] == 143


def test_evaluate_lets_images_leave(calibrated):
    run, _ = calibrated
    found = leannet(run, "evaluate", "exits/best", "--output", "left")
    assert found.code == 0, found.err
    assert "as calibrated" in found.out
    whole = leannet(run, "evaluate", "exits/best", "--no-early-exit", "--output", "whole")
    assert "nobody leaves before the end" in whole.out
    left, whole = results(run / "left"), results(run / "whole")
    exits = left["early_exit"]["exits"]
    assert sum(row["share"] for row in exits) == pytest.approx(100)
    assert left["early_exit"]["mean_macs"] < whole["early_exit"]["mean_macs"] == exits[2]["macs"]
    assert whole["figures"]["top1"]["value"] == pytest.approx(exits[2]["top1"]["value"])
    # The accuracy is that of the images' own exits, which the table gives one by one.
    leaving = [row for row in exits if row["top1_of_leaving"]]
    mean = sum(row["share"] * row["top1_of_leaving"]["value"] for row in leaving) / 100
    assert left["figures"]["top1"]["value"] == pytest.approx(mean)


def test_evaluate_says_when_it_judges_on_the_images_that_chose(calibrated):
    run, _ = calibrated
    found = leannet(run, "evaluate", "exits/best", "--split", "validation", "--output", "chosen")
    assert "the thresholds of the exits were chosen on these images" in found.out + found.err
    found = leannet(run, "evaluate", "exits/best", "--output", "others")
    assert "were chosen on these images" not in found.out + found.err


def test_the_staged_classifier_answers_as_evaluate_does(calibrated):
    run, _ = calibrated
    leannet(run, "evaluate", "exits/best", "--output", "again")
    saved = load_saved_network(run / "exits" / "best")
    from leannet.data import EvalBatches, load_pixels
    from leannet.training.runs import open_run_source

    source = open_run_source(run / "exits" / "best")
    batches = EvalBatches(load_pixels(source, "test", saved.preprocessing), saved.preprocessing, 32)
    classifier = StagedClassifier(saved.model, read_policy(run / "exits" / "best", 3))
    found = [classifier(images) for images, _ in batches]
    labels = torch.cat([each.labels for each in found])
    rows = list(csv.DictReader((run / "again" / "predictions.csv").open()))
    predicted = next(name for name in rows[0] if "predict" in name)
    assert [str(int(label)) for label in labels] == [row[predicted] for row in rows]
    shares = [row["share"] for row in results(run / "again")["early_exit"]["exits"]]
    exits = torch.cat([each.exits for each in found])
    assert (100 * torch.bincount(exits, minlength=4)[1:] / len(exits)).tolist() == pytest.approx(shares, abs=1e-4)


def test_budgets(calibrated):
    run, _ = calibrated
    for name in ("a", "b"):
        (run / "copy").mkdir(exist_ok=True)
        for file in ("config.json", "model.safetensors"):
            (run / "copy" / file).write_bytes((run / "exits" / "best" / file).read_bytes())
        found = leannet(
            run, "calibrate", "copy", "--data", "digits", "--split", "test", "--budget-macs", "8M", "--rounds", 3,
            "--rule", "entropy" if name == "a" else "margin", "--ensemble", "--output", f"budget-{name}", "--json",
        )  # fmt: skip
        assert found.code == 0, found.err
        record = json.loads(found.out)
        assert record["mean_macs"] <= 8e6
        assert record["policy"]["ensemble"] is True
    nearest = leannet(run, "calibrate", "exits/best", "--budget-ms", 0.000001, "--rounds", 3)
    assert nearest.code == 2
    assert "--budget-ms 1e-06 cannot be reached" in nearest.err
    assert re.search(r"costs (\S+) ms already\. Pass --budget-ms \1 or more, or put an exit earlier\.", nearest.err)
    nearest = leannet(run, "calibrate", "exits/best", "--budget-macs", "1k", "--rounds", 3)
    least = re.search(r"Pass --budget-macs (\S+[kM]) or more", nearest.err)[1]
    found = leannet(run, "calibrate", "copy", *OTHERS, "--budget-macs", least, "--rounds", 3, "--output", "least")
    assert found.code == 0, found.err
    assert "Warning" not in found.out, "a budget promises no accuracy"


def test_a_promise_that_cannot_be_proved_is_warned_of(calibrated):
    run, _ = calibrated
    (run / "promised").mkdir()
    for file in ("config.json", "model.safetensors"):
        (run / "promised" / file).write_bytes((run / "exits" / "best" / file).read_bytes())
    found = leannet(run, "calibrate", "promised", *OTHERS, "--max-drop", 0, "--rounds", 3, "--output", "nothing-lost")
    assert found.code == 0, found.err
    [line] = [line for line in found.out.splitlines() if line.startswith("Warning: ")]
    assert re.match(r"Warning: --max-drop 0 is .* points \(95 % interval .*\)\. Promise a small drop", line)
    assert line == f"Warning: {results(run / 'nothing-lost')['warning']}"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("plain/best",), "plain/best has no exits: it answers at its end only. Attach some"),
        (("exits/best",), "--max-drop 0.5 cannot be known: on 143 validation images no drop below 2.10 points"),
        (("exits/best", "--max-drop", 5, "--budget-macs", "9M"), "there is one goal"),
        (("exits/best", "--budget-macs", "many"), "--budget-macs many: not a count"),
        (("exits/best", "--budget-macs", "1k"), "--budget-macs 1k cannot be reached: .* at the first exit costs"),
        (("exits/best", "--max-drop", 5, "--split", "test"), "--split test: thresholds chosen on images that"),
        (("exits/best", "--max-drop", 5, "--rule", "patience"), "no thresholds to calibrate"),
        (("exits/best", "--max-drop", 5, "--rule", "luck"), "unknown exit rule luck"),
        (("exits/best", "--max-drop", 5, "--output", "exits"), "cannot write to exits: it holds a run"),
        (("nowhere",), "nowhere is no model folder: no such folder"),
    ],
)
def test_mistakes_are_one_line_and_change_nothing(calibrated, arguments, words):
    run, _ = calibrated
    before = (run / "exits" / "best" / "config.json").read_bytes()
    found = leannet(run, "calibrate", *arguments, "--rounds", 3)
    assert found.code == 2
    assert len(found.err.strip().splitlines()) == 1
    assert re.search(words, found.err)
    assert (run / "exits" / "best" / "config.json").read_bytes() == before


def test_a_policy_that_does_not_fit_is_named(calibrated):
    run, _ = calibrated
    path = run / "exits" / "best" / "config.json"
    before = path.read_text()
    config = json.loads(before)
    config["early_exit"]["thresholds"] = [0.5]
    path.write_text(json.dumps(config))
    found = leannet(run, "evaluate", "exits/best")
    path.write_text(before)
    assert found.code == 2
    assert "1 thresholds: a network of 3 exits takes 2" in found.err
    assert ExitPolicy.from_config(json.loads(before)["early_exit"])
