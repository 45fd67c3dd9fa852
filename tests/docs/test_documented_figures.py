"""Figures in the pages are those of the records beside which they say that they come from."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
import statistics
import sys
from pathlib import Path

import pytest

from leannet.measure import mean_interval
from leannet.papers.reproduce import RULE
from leannet.papers.tables import (
    budget_names,
    find_tables,
    judge_claims,
    load_budget,
    load_experiment,
    make_plan,
    make_rows,
    read_evidence,
)
from leannet_cli.main import main

ROOT = Path(__file__).parents[2]
REPRODUCE = ROOT / "results" / "reproduce"
README_NAMES = {
    "`efficientnet_b0_dmp`, as trained": "efficientnet_b0_dmp as trained",
    'the same, `fuse(model, "grouped")`': "efficientnet_b0_dmp grouped",
    "the same, `fuse(model)` (planes)": "efficientnet_b0_dmp planes",
    'the same, `fuse(model, "branches")`': "efficientnet_b0_dmp branches",
    "the same as trained, channels last": "efficientnet_b0_dmp as trained, channels_last",
    "the same, planes, channels last": "efficientnet_b0_dmp planes, channels_last",
    "the same, branches, channels last": "efficientnet_b0_dmp branches, channels_last",
    "`efficientnet_b0`, channels last": "efficientnet_b0, channels_last",
    "`sm_v2`": "sm_v2",
    "`sm_v2`, channels last": "sm_v2, channels_last",
    "`mobilenetv2_100`, channels last": "mobilenetv2_100, channels_last",
}


def page(name):
    return (ROOT / name).read_text(encoding="utf-8")


def csv_rows(file):
    """Return the rows of a CSV file of a reproduction, by the names of its columns."""
    with (REPRODUCE / file).open(encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


def interval_text(interval):
    """Return an interval of a record as the pages have it."""
    return "{value:.2f} ({low:.2f} - {high:.2f})".format(**interval)


def table(text, first):
    """Return the rows of the table whose head begins so, as lists of cells."""
    lines = text.partition(f"\n| {first}")[2].splitlines()
    rows = []
    for line in lines[2:]:
        if not line.startswith("|"):
            return rows
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def test_times_in_the_readme_are_those_of_the_record():
    record = {
        (row["network"], row["backend"], row["batch_size"]): row
        for row in json.loads(page("results/latency.json"))["rows"]
    }
    rows = table(page("README.md"), "network | eager, batch 1 |")
    assert [row[0] for row in rows] == list(README_NAMES)
    columns = [(backend, batch) for backend in ("eager", "onnxruntime", "openvino", "executorch") for batch in (1, 8)]
    for label, *cells in rows:
        for place, cell in zip(columns, cells, strict=True):
            found = record.get((README_NAMES[label], *place))
            assert cell == ("" if found is None else "{ratio:.2f} ({ratio_low:.2f} - {ratio_high:.2f})".format(**found))


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("README.md", "network | params | CIFAR-10"),
        ("docs/choose.md", "network | parameters, 10 classes | CIFAR-10"),
        ("docs/choose.md", "network | parameters, 10 classes | MACs at 96 px"),
    ],
)
def test_tables_of_compared_networks_are_those_of_the_records(name, first):
    records = {
        data: {row["network"]: row for row in json.loads(page(f"results/{data}/results.json"))["rows"]}
        for data in ("cifar10", "clothing")
    }
    rows = table(page(name), first)
    assert rows
    for label, parameters, *cells in rows:
        network = label.strip("`")
        rows_of = [found[network] for found in records.values() if network in found]
        known = {interval_text(row["top1"]) for row in rows_of}
        known |= {f"{row['macs'] / 1e6:.1f} M" for row in rows_of}
        assert parameters in {f"{row['parameters'] / 1e6:.2f} M" for row in rows_of}
        assert set(cells) <= known, label


EVIDENCE = [path.stem for path in sorted((ROOT / "docs" / "evidence").glob("*.md"))]
WITH_TABLES = [paper for paper in EVIDENCE if find_tables(paper)]
RUNS = sorted((ROOT / "results" / "evidence").glob("*/*/results.json"))
FURTHER = [file for file in RUNS if "test" in json.loads(file.read_text(encoding="utf-8"))]  # and not a bench


@pytest.mark.parametrize("file", FURTHER, ids=lambda file: "/".join(file.parts[-3:-1]))
def test_each_further_training_is_told_with_its_interval(file):
    top1 = json.loads(file.read_text(encoding="utf-8"))["test"]["top1"]
    told = r"{value:.2f}( %)? \({low:.2f} - {high:.2f}[;)]".format(**top1)
    assert any(re.search(told, page(f"docs/evidence/{paper}.md")) for paper in EVIDENCE)


@pytest.mark.parametrize("paper", EVIDENCE)
def test_accuracies_of_an_evidence_page_are_those_of_the_trainings(paper):
    """From the records of single trainings, not by way of the tables that were made from them."""
    rows = table(page(f"docs/evidence/{paper}.md"), "CIFAR-10 |")
    assert rows
    for label, *cells in rows:
        network = label.strip("`")
        files = sorted((REPRODUCE / f"{paper}-small" / network.replace("/", "_")).glob("seed-*/results.json"))
        tests = [json.loads(file.read_text())["test"] for file in files]
        accuracies = [100 * test["correct"] / test["total"] for test in tests]
        if (exit := cells[0].replace(" ", "")) in tests[0].get("exits", {}):
            accuracies = [test["exits"][exit]["value"] for test in tests]
        assert len(accuracies) == 3
        interval = mean_interval(accuracies, tests[0]["total"])
        assert interval.value == pytest.approx(statistics.fmean(accuracies))
        assert f"{interval.value:.2f} ({interval.low:.2f} - {interval.high:.2f})" in cells


@pytest.mark.parametrize("paper", WITH_TABLES)
def test_printed_accuracies_and_macs_of_an_evidence_page_are_those_of_the_table(paper):
    found = csv_rows(f"{paper}-small/tables/tables.csv")
    for label, *cells in table(page(f"docs/evidence/{paper}.md"), "CIFAR-10 |"):
        rows = [row for row in found if row["network"] == label.strip("`")]
        printed = {f"{float(row['published_top1']):.2f}" for row in rows if row["published_top1"]}
        assert printed & set(cells), label
        macs = {f"{int(row['macs']) / 1e6:.1f} M" for row in rows}
        assert macs & set(cells), label


@pytest.mark.parametrize("paper", WITH_TABLES)
def test_times_of_an_evidence_page_are_those_of_the_table(paper):
    found = [row for row in csv_rows(f"{paper}-small/tables/tables.csv") if row["cpu_ratio"]]
    seen = 0
    for label, *cells in table(page(f"docs/evidence/{paper}.md"), "CIFAR-10 |"):
        ratios = {
            tuple(f"{float(row[name]):.{places}f}" for name in ("cpu_ratio", "cpu_ratio_low", "cpu_ratio_high"))
            for row in found
            if row["network"] == label.strip("`")
            for places in (2, 3)
        }
        for cell in cells:
            if times := re.fullmatch(r"([01]\.\d+) \(([01]\.\d+) - ([01]\.\d+)\)", cell):
                assert times.groups() in ratios, (label, cell)
                seen += 1
    assert seen


def test_times_in_other_runtimes_are_those_of_the_record():
    tables = json.loads(page("results/evidence/sm_v2-runtimes/results.json"))["tables"]
    rows = table(page("docs/evidence/sm_v2.md"), "multiples of `mobilenetv2_100` |")
    assert len(rows) == 4
    for label, *cells in rows:
        for cell, setting in zip(cells, tables, strict=True):
            (found,) = (row["ratio"] for row in setting["networks"] if row["network"] == label.strip("`"))
            assert cell == interval_text(found)
    assert [(each["backend"], each["threads"]) for each in tables] == [
        (backend, threads) for backend in ("eager", "onnxruntime", "openvino") for threads in (1, 2)
    ]


def rounded(text):
    """Return what JSON says without the last digits, in which versions of a library may differ."""
    return json.loads(text, parse_float=lambda digits: round(float(digits), 9))


@pytest.mark.parametrize("paper", WITH_TABLES)
def test_committed_tables_are_those_that_the_records_give(paper):
    folder = REPRODUCE / f"{paper}-small"
    plan = make_plan(load_experiment(paper), load_budget("small"), folder)
    assert not plan.left
    evidence = read_evidence(plan)
    tables = {name: make_rows(evidence, name) for name in find_tables(paper)}
    verdicts = judge_claims(evidence)
    committed = rounded((folder / "tables" / "tables.json").read_text(encoding="utf-8"))
    for name, rows in tables.items():
        assert rounded(json.dumps([dataclasses.asdict(row) for row in rows])) == committed["tables"][name]
    assert [(each.word, each.reason) for each in verdicts] == [
        (claim["verdict"], claim["reason"]) for claim in committed["claims"]
    ]
    assert committed["rule"] == RULE


def test_points_read_off_and_macs_of_the_page_with_exits_are_those_of_the_figure():
    found = csv_rows("emgnet-small/figure-3/figure_3.csv")
    seen = []
    for label, exit, *cells in table(page("docs/evidence/emgnet.md"), "CIFAR-10 |"):
        point = label.strip("`"), exit.removeprefix("exit ")
        rows = [row for row in found if (row["network"], row["exit"]) == point]
        assert len(rows) == 3
        macs = f"{statistics.fmean(float(row['macs']) for row in rows) / 1e6:.1f} M"
        top1, read_off = (float(rows[0][name]) for name in ("published_top1", "published_macs"))
        assert {f"{top1:.1f}", f"{read_off / 1e6:.0f} M", macs} <= set(cells), label
        seen.append(point)
    assert sorted(seen) == sorted({(row["network"], row["exit"]) for row in found})


@pytest.mark.parametrize(
    ("folder", "records", "budget"),
    [
        ("emgnet-figure-3", "emgnet_cifar10", []),
        ("emgnet-small/figure-3", "reproduce/emgnet-small", ["--budget", "small"]),
    ],
)
def test_committed_figures_are_those_that_the_records_give(folder, records, budget, tmp_path, monkeypatch):
    command = ["leannet", "reproduce", "emgnet", "--figure", "3", *budget]
    monkeypatch.setattr(sys, "argv", [*command, "--records", f"{ROOT}/results/{records}", "-o", f"{tmp_path}/again"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    again, committed = (
        rounded((place / "claims.json").read_text(encoding="utf-8"))
        for place in (tmp_path / "again", REPRODUCE / folder)
    )
    assert again["ours"] == committed["ours"]
    assert again["claims"] == committed["claims"]
    assert committed["rule"] == RULE


def test_the_rule_and_the_budgets_are_those_of_the_code():
    text = page("docs/reproducing.md")
    flowing = " ".join(text.replace("\\*", "*").split())
    for topic, rule in RULE.items():
        assert f"### {topic} {rule}" in flowing
    rows = {row[0].strip("`"): row[1:] for row in table(text, "budget |")}
    assert list(rows) == budget_names()
    for name, (images, epochs, batch, seeds, rounds) in rows.items():
        budget = load_budget(name)
        counts = ["all" if count is None else f"{count:,}" for count in (budget.train_images, budget.test_images)]
        assert images == ", ".join(counts)
        assert epochs == ("of the recipe" if budget.epochs is None else str(budget.epochs))
        assert batch == ("of the recipe" if budget.batch_size is None else str(budget.batch_size))
        assert (seeds, rounds) == (", ".join(map(str, budget.seeds)), str(budget.rounds))


def test_evidence_pages_are_linked_wherever_evidence_is_listed():
    for paper in EVIDENCE:
        for place, link in (
            ("README.md", "docs/evidence/"),
            ("docs/reproducing.md", "evidence/"),
            ("mkdocs.yml", "evidence/"),
        ):
            assert re.search(rf"{link}{paper}\.md", page(place)), (paper, place)
        assert f"evidence/{paper}.md" in page(f"docs/papers/{paper}.md")
