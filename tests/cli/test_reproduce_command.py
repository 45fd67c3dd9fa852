"""``leannet reproduce`` as a user meets it."""

import json
import shlex
import sys
from pathlib import Path

import pytest
import yaml
from command_line import leannet, refusal

from leannet.models import known_networks
from leannet.training import recipe_names

sys.path.append(str(Path(__file__).parents[1] / "papers"))
from emgnet_records import CORRECT, write_records

FILES = ["claims.json", "figure_3.csv", "figure_3.svg", "report.html"]


@pytest.fixture
def records(tmp_path):
    return write_records(tmp_path / "results" / "emgnet_cifar10")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_default_folders_are_read_and_written(records, tmp_path):
    answer = leannet("reproduce", "emgnet", "--figure", 3)
    assert (answer.code, answer.err) == (0, "")
    assert names(tmp_path / "runs" / "reproduce" / "emgnet-figure-3") == FILES
    lines = answer.out.splitlines()
    (first,) = [line.split() for line in lines if line.startswith("EMGNet") and "exit 1" in line]
    assert " ".join(first) == "EMGNet exit 1 45 22.0 -51.1 91.6 61.00 60.04 - 61.95 -30.60 0"
    verdicts = [line for line in lines if line.startswith(("  holds for our layouts: counted", "  not testable"))]
    assert len(verdicts) == 9
    assert sum(line.startswith("  holds for our layouts: ") for line in verdicts) == 2
    assert sum(line.startswith("  not testable at this budget: trained for 3 epochs") for line in verdicts) == 3
    written = "figure_3.svg, report.html, figure_3.csv, claims.json"
    assert lines[-1] == f"Written to runs/reproduce/emgnet-figure-3: {written}"


def test_a_second_time_takes_another_folder_and_says_the_same(records, tmp_path):
    for _ in range(2):
        assert leannet("reproduce", "emgnet", "--figure", 3).code == 0
    first, second = (tmp_path / "runs" / "reproduce" / f"emgnet-figure-3{end}" for end in ("", "-2"))
    for name in FILES:
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_records_and_output_may_be_named(records, tmp_path):
    moved = records.rename(tmp_path / "my records")
    assert leannet("reproduce", "emgnet", "--figure", 3, "--records", moved, "-o", "here").code == 0
    assert names(tmp_path / "here") == FILES
    assert not (tmp_path / "runs").exists()
    content = json.loads((tmp_path / "here" / "claims.json").read_text())
    assert content["environment"]["command"] == f"leannet reproduce emgnet --figure 3 --records '{moved}'"


def test_no_records_are_answered_with_the_trainings_that_make_them(tmp_path):
    said = refusal("reproduce", "emgnet", "--figure", 3)
    assert said.startswith("leannet: no records in results/emgnet_cifar10: no such folder. ")
    commands = [shlex.split(part) for part in said.rstrip(".").partition("make them: ")[2].split("; ")]
    assert [command[2] for command in commands] == list(CORRECT)
    for leannet_, train, network, _, recipe, *_, folder in commands:
        assert (leannet_, train, folder) == ("leannet", "train", f"results/emgnet_cifar10/{network}")
        assert recipe in recipe_names()
        assert network in known_networks()
    (tmp_path / "empty").mkdir()
    said = refusal("reproduce", "emgnet", "--figure", 3, "--records", "empty")
    assert said.startswith("leannet: no records in empty: no finished training lies below it. ")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["emgnt", "--figure", 3], "cannot find the paper 'emgnt': no file has this identifier. Choose one of "),
        (
            ["emgnet", "--figure", 2],
            "cannot reproduce figure 2 of emgnet: it is not known how. Known: emgnet --fig",
        ),
        (["cse", "--figure", 3], "cannot reproduce figure 3 of cse: "),
        (["emgnet"], "no records in results/emgnet_cifar10: no such folder. "),  # its only figure is meant
    ],
)
def test_unknown_papers_and_figures(arguments, words):
    assert refusal("reproduce", *arguments).removeprefix("leannet: ").startswith(words)


def test_damaged_record_writes_nothing(records, tmp_path):
    (records / "resnet20_cifar" / "results.json").write_text("[]")
    said = refusal("reproduce", "emgnet", "--figure", 3)
    assert said.startswith("leannet: cannot use results/emgnet_cifar10/resnet20_cifar/results.json: ")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("file", "change", "why"),
    [
        ("args.yaml", {"model": ["a"]}, "model is ['a'], and not text"),
        ("args.yaml", {"model": {"a": 1}}, "model is {'a': 1}, and not text"),
        ("args.yaml", {"model": None}, "model is None, and not text"),
        ("args.yaml", {"recipe": "emgnet"}, "recipe is emgnet, and not a mapping"),
        ("args.yaml", {"recipe": {"learning_rate": 1}}, "Recipe.__init__() got an unexpected keyword argument 'learn"),
        ("args.yaml", {"recipe": {"lr": "1e-3"}}, "--lr 1e-3: it must be a number"),
        ("args.yaml", {"recipe": {"lr": -1.0}}, "--lr -1.0: it must be between"),
        ("args.yaml", {"seed": [0]}, "[0] is no count"),
        ("args.yaml", {"seed": True}, "True is no count"),
        ("args.yaml", {"weights": 3}, "weights is 3, and not text"),
        ("results.json", {"test": 3}, "'int' object is not subscriptable"),
        ("results.json", {"epochs": [3]}, "[3] is no count"),
        ("results.json", {"macs": {"total": 3}}, "{'total': 3} is no number of MACs"),
        ("results.json", {"macs": 10**400}, "int too large to convert to float"),
        ("environment.json", {"data": []}, "list indices must be integers"),
        ("environment.json", {"data": {"classes": [["a"]]}}, "unhashable type: 'list'"),
        ("environment.json", {"processes": "2"}, "2 is no count"),
        ("environment.json", {"packages": ["torch"]}, "packages is ['torch'], and not a mapping"),
        ("environment.json", {"machine": {"gpus": [1]}}, "gpus is no list of names"),
    ],
)
def test_values_of_another_type_are_told_with_their_file(records, file, change, why):
    path = records / "resnet20_cifar" / file
    path.write_text(json.dumps(yaml.safe_load(path.read_text()) | change))  # JSON is YAML
    said = refusal("reproduce", "emgnet", "--figure", 3)
    assert said.startswith(f"leannet: cannot use results/emgnet_cifar10/resnet20_cifar/{file}: {why}")
    assert "Train anew, or move results/emgnet_cifar10/resnet20_cifar elsewhere." in said


def test_a_run_is_not_written_over(records):
    said = refusal("reproduce", "emgnet", "--figure", 3, "-o", records / "resnet20_cifar")
    assert "a run of another kind lies in it. Choose another --output." in said
