"""`leannet train FOLDER --exits`: exits beside a trained network, which stays what it was."""

import os
import signal
import sys

import pytest
import timm
import torch
from command_line import QUICK, SMALLEST, leannet, refusal
from model_folders import make_model_folder, rows_of, truth_of
from other_process import start, wait_until
from safetensors.torch import load_file
from train_runs import arguments, results, train

from leannet.models import AttachedExits, count_exit_macs

EXITS = ("--exits", "auto", "--freeze")


@pytest.fixture(scope="module")
def trained(trees, tmp_path_factory):
    return make_model_folder(tmp_path_factory.mktemp("trained") / "net", trees)


@pytest.fixture(scope="module")
def grown(trees, trained, tmp_path_factory):
    """The run that gave it exits; not to be changed."""
    folder = tmp_path_factory.mktemp("grown") / "run"
    answer = train(trees, folder, *EXITS, "--lr", 0.01, network=trained)
    assert "note: exits after stages.0, stages.1" in answer.err
    return folder


def accuracy(probabilities, labels):
    return 100 * (probabilities.argmax(1) == labels).mean()


def test_the_network_inside_is_bit_by_bit_the_old_one(trained, grown):
    before = load_file(trained / "model.safetensors")
    for kept in ("best", "last"):
        after = load_file(grown / kept / "model.safetensors")
        inside = {name.removeprefix("backbone."): value for name, value in after.items() if "backbone." in name}
        assert inside.keys() == before.keys()
        assert [name for name in before if not torch.equal(inside[name], before[name])] == []
        assert any(name.startswith("exits.1.") for name in after)


def test_its_accuracy_is_that_of_the_old_one_and_each_exit_has_its_own(trees, trained, grown):
    _, labels, probabilities = truth_of(trained, trees)
    judged = results(grown)["test"]
    assert judged["top1"]["value"] == pytest.approx(accuracy(probabilities, labels))
    assert judged["exits"]["exit3"]["value"] == judged["top1"]["value"]
    assert list(judged["exits"]) == ["exit1", "exit2", "exit3", "ensemble"]
    assert arguments(grown)["recipe"]["exits"] == "auto"


def test_the_tables_have_a_column_for_each_exit(grown):
    rows = rows_of(grown / "results.csv")
    columns = [f"val_top1_{name}" for name in ("exit1", "exit2", "exit3", "ensemble")]
    assert list(rows[0])[-4:] == columns
    assert rows[-1]["val_top1"] == rows[-1]["val_top1_exit3"]
    assert not (grown / "gates.csv").exists()


def test_the_costs_of_the_exits_are_written(grown):
    model = timm.create_model(f"local-dir:{grown / 'best'}", pretrained=True)
    assert isinstance(model, AttachedExits)
    found = results(grown)
    macs = found["exit_macs"]
    assert macs["closed"] == macs["open"] == list(count_exit_macs(model, 16).open)
    assert macs["open"][0] < macs["open"][1] < macs["open"][2]
    assert "measured" not in macs
    # The answer of the network alone needs no head of an earlier exit.
    assert found["macs"] < macs["open"][2]


def test_without_freeze_the_network_learns_too(trees, trained, tmp_path):
    train(trees, tmp_path / "out", "--exits", "1", "--exit-head", "bottleneck", network=trained)
    before = load_file(trained / "model.safetensors")
    after = load_file(tmp_path / "out" / "last" / "model.safetensors")
    assert all(not torch.equal(after[f"backbone.{name}"], before[name]) for name in before)
    assert "exits.0.transform.2.conv.weight" in after  # 1x1, what pads, and the convolution of the stride
    model = timm.create_model(f"local-dir:{tmp_path / 'out' / 'best'}", pretrained=True)
    assert (model.stages, model.exit_head) == (("stages.1",), "bottleneck")


def test_a_network_with_exits_is_trained_on(trees, grown, tmp_path):
    train(trees, tmp_path / "out", network=grown / "best")
    model = timm.create_model(f"local-dir:{tmp_path / 'out' / 'best'}", pretrained=True)
    assert isinstance(model, AttachedExits)
    assert len(results(tmp_path / "out")["test"]["exits"]) == 4


def test_a_stage_that_it_lacks_is_refused(trees, trained, tmp_path):
    said = refusal("train", trained, "--data", trees, *QUICK, "--exits", "stages.1,stages.9", "-o", tmp_path / "out")
    assert said == (
        "leannet: no exit after stages.9 of resnet20_cifar: no such stage. It has 0: stages.0, 1: stages.1."
    )
    assert not (tmp_path / "out").exists()


def test_a_network_that_has_exits_gets_no_more(trees, grown, tmp_path):
    said = refusal("train", grown / "best", "--data", trees, *QUICK, "--exits", "auto", "-o", tmp_path / "out")
    assert said == "leannet: cannot attach exits to resnet20_cifar: it has exits. Give a network without."


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--exits", "stages.2"), "there the network itself answers. It has 0: stages.0, 1: stages.1."),
        (("--exits", "0", "--exit-head", "huge"), "huge"),
        (("--exits", "0", "--exit-loss", "huge"), "huge"),
    ],
)
def test_other_mistakes_with_exits(trees, trained, tmp_path, more, said):
    assert said in refusal("train", trained, "--data", trees, *QUICK, *more, "-o", tmp_path / "out")


def test_networks_that_cannot_have_exits(trees, tmp_path):
    for name, why in (
        ("torchvision/shufflenet_v2_x0_5", "it has no feature_info"),
        ("test_vit", "its features are not computed by modules"),
    ):
        size = ("--img-size", 160, "--no-small-input") if name == "test_vit" else ()
        said = refusal("train", name, "--data", trees, *QUICK, *size, "--exits", "auto", "-o", tmp_path / "out")
        assert said.startswith(f"leannet: cannot attach exits to {name}: {why}")


def test_the_exits_of_a_later_epoch_are_kept_when_they_are_better(trees, trained, tmp_path):
    train(trees, tmp_path / "out", *EXITS, "--epochs", 6, "--lr", 0.01, network=trained)
    accuracies = [float(row["val_top1_exit1"]) for row in rows_of(tmp_path / "out" / "results.csv")]
    assert max(accuracies) > accuracies[0], "they learn nothing here: the test says nothing"
    assert results(tmp_path / "out")["best_epoch"] > 1


@pytest.mark.slow
def test_digits(tmp_path):
    """Both commands as the documentation has them."""
    size = ("--img-size", 8)
    assert leannet("train", SMALLEST, "--data", "digits", "--epochs", 1, *size, "-o", "plain").code == 0
    before = results(tmp_path / "plain")
    answer = leannet("train", "plain/best", "--data", "digits", *EXITS, "--epochs", 1, "-o", "exits")
    assert answer.code == 0, answer.err
    after = results(tmp_path / "exits")
    for part in ("validation", "test"):
        assert after[part]["correct"] == before[part]["correct"]
        assert after[part]["loss"] == pytest.approx(before[part]["loss"], rel=1e-5)
        assert after[part]["exits"]["exit2"]["value"] > 30  # chance is 10


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_resumed_as_if_nothing_had_happened(trees, trained, tmp_path):
    command = ("train", trained, "--data", trees, *QUICK, "--val-fraction", 0.25, *EXITS, "--epochs", 4)
    assert leannet(*command, "-o", tmp_path / "whole").code == 0
    log = tmp_path / "log"
    process = start((*command, "-o", tmp_path / "run", "--checkpoint-every", "0s"), log, tmp_path)
    wait_until(lambda: log.exists() and "epoch 2/4" in log.read_text(), process)
    os.kill(process.pid, signal.SIGINT)
    process.join(120)
    assert process.exitcode == 130, log.read_text()
    assert leannet("train", "--resume", tmp_path / "run").code == 0
    for name in ("best/model.safetensors", "last/model.safetensors", "best/config.json"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    whole, resumed = (rows_of(tmp_path / name / "results.csv") for name in ("whole", "run"))
    assert [row["val_top1_exit1"] for row in resumed] == [row["val_top1_exit1"] for row in whole]
    assert len(resumed) == 4


def test_what_cannot_learn_together_is_refused(trees, trained, tmp_path):
    fields = (*EXITS, "--exit-head", "linear", "--exit-loss", "scan")
    said = refusal("train", trained, "--data", trees, *fields, "-o", tmp_path / "out")
    assert "--exit-loss scan with --exit-head linear" in said
