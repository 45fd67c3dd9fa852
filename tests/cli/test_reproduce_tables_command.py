"""``leannet reproduce`` for tables as a user meets it."""

import csv
import json
import sys
from pathlib import Path

import pytest
from command_line import leannet, refusal

sys.path.append(str(Path(__file__).parents[1] / "papers"))
from table_records import plan_of, write_reproduction, write_times

CORRECT = {"efficientnet_b0": 6000, "efficientnet_b0_maxpool": 5500, "efficientnet_b0_dmp": 5600}


@pytest.fixture
def committed(tmp_path):
    plan = plan_of("dmp", tmp_path / "committed", "small")
    write_reproduction(plan, CORRECT)
    networks = {"efficientnet_b0": 40.0, "efficientnet_b0_dmp": 30.0}
    write_times(plan, "photographs-cpu", {name: [ms] * 20 for name, ms in networks.items()})
    return plan.folder


def test_tables_from_committed_records(committed, tmp_path):
    answer = leannet("reproduce", "dmp", "--budget", "small", "--records", committed, "-o", tmp_path / "out")
    assert answer.code == 0
    lines = [line.split() for line in answer.out.splitlines()]
    row = next(line for line in lines if line[:2] == ["efficientnet_b0_dmp", "CIFAR-10"])
    assert row[9:11] == ["89.33", "56.00"]
    first = next(line for line in lines if line[:2] == ["efficientnet_b0_dmp", "-"])
    assert first[2:5] == ["2.19815", "2.198150", "+0.0"]
    assert first[-4:] == ["0.75", "(0.75", "-", "0.75)"]
    assert sum(line.startswith("  confirmed: counted: ") for line in answer.out.splitlines()) == 4
    content = json.loads((tmp_path / "out" / "tables.json").read_text())
    assert [claim["verdict"] for claim in content["claims"]].count("not testable at this budget") == 2
    with (tmp_path / "out" / "tables.csv").open() as file:
        rows = list(csv.DictReader(file))
    (found,) = [row for row in rows if (row["network"], row["dataset"]) == ("efficientnet_b0_dmp", "cifar10")]
    assert (found["published_top1"], found["top1"], found["difference"]) == ("89.33", "56.0000", "-33.3300")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "89.33" in page
    assert "not testable at this budget" in page
    assert not (tmp_path / "runs").exists()


def test_plan_says_the_hours_and_runs_nothing(tmp_path):
    answer = leannet("reproduce", "dmp", "--plan", "--budget", "small")
    first, *steps = answer.out.splitlines()
    assert first.startswith(
        "dmp, budget small: 12 trainings (4 networks, 3 seeds, 4 epochs of 10,000 images), 12 to do, "
    )
    assert len(steps) == 12
    minutes = sum(float(step.partition("about ")[2].partition(" min")[0]) for step in steps)
    assert float(first.partition("about ")[2].partition(" h")[0]) == pytest.approx(minutes / 60, abs=0.1)
    assert "times of networks come on top" in first
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("paper", "table", "trained"),
    [
        ("dmp", 1, 0),  # counts only
        ("dmp", 2, 4),
        ("sm_v2", 2, 0),  # quoted
        ("sm_v2", 3, 5),
        ("cse", 5, 4),
    ],
)
def test_a_table_trains_no_more_than_it_needs(paper, table, trained):
    first, *steps = leannet("reproduce", paper, "--table", table, "--plan", "--budget", "small").out.splitlines()
    assert len({step.split(",")[0] for step in steps}) == trained
    assert len(steps) == 3 * trained
    assert ("nothing is trained" in first) == (trained == 0)


def test_a_figure_does_not_train_on_other_data_than_its_own(tmp_path):
    said = refusal("reproduce", "emgnet", "--budget", "smoke", "--data", "digits")
    assert "cannot use digits: the points of the figure are of 10 other classes (airplane, automobile, bird, " in said
    assert not (tmp_path / "runs").exists()
    assert "without a budget a figure is drawn from records" in refusal("reproduce", "emgnet", "--data", "digits")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["dmpp"], "cannot find the paper 'dmpp': no file has this identifier. Choose one of "),
        (["dmp", "--table", 3], "cannot reproduce table 3 of dmp: it has no such table of results. Known: --table 1, "),
        (["dmp", "--table", 1, "--figure", 1], "--table and --figure: only one of them"),
        (["dmp", "--budget", "huge"], "--budget huge: there is no such budget. Choose smoke, small, full."),
        (["dmp", "--records", "nowhere"], "no records in nowhere: no such folder. "),
        (["dmp", "--data", "nowhere.parquet"], "cannot open nowhere.parquet: no such file or folder"),
        (
            ["emgnet", "--table", 1],
            "cannot reproduce table 1 of emgnet: it has no such table of results. Known: --figure",
        ),
    ],
)
def test_mistakes(arguments, words):
    assert refusal("reproduce", *arguments).removeprefix("leannet: ").startswith(words)


def test_records_of_another_budget_are_refused(committed):
    said = refusal("reproduce", "dmp", "--budget", "full", "--records", committed)
    assert "holds records of another budget: they are of dmp, budget small" in said
    figure = ("reproduce", "emgnet", "--budget", "small", "--records", committed)
    assert "holds records of another paper: they are of dmp, budget small" in refusal(*figure)
