"""`leannet report` on what the other verbs write, and a comparison whose report fails."""

import importlib
import json
import os
import stat
from pathlib import Path

import pytest
from command_line import QUICK, SMALLEST, leannet, refusal

OTHER = "test_efficientnet"
RECORDS = Path(__file__).parents[2] / "results" / "reproduce" / "dmp-small"


@pytest.fixture(scope="module")
def compared(trees, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "trees"
    assert leannet("compare", SMALLEST, OTHER, "--data", trees, *QUICK, "--output", folder).code == 0
    return folder


def test_report_is_made_again_from_the_records(compared):
    page = compared / "report.html"
    before = page.read_bytes()
    assert b"part1-latency-1" in before
    assert b"part1-confusion-2" in before
    page.unlink()
    answer = leannet("report", compared)
    assert (answer.code, answer.out) == (0, f"Written to {page}: open it in a browser.\n")
    assert page.read_bytes() == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of POSIX")
def test_a_page_is_not_written_over_a_pipe(compared, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    said = refusal("report", compared, "-o", "pipe")
    assert said == "leannet: cannot write pipe: it is no ordinary file. Name an ordinary file with --output."
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_weights_and_images_are_not_needed(compared, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(compared, copy, ignore=shutil.ignore_patterns("*.safetensors", "config.json", "report.html"))
    assert leannet("report", copy).code == 0
    assert (copy / "report.html").stat().st_size < 6_000_000


def test_runs_of_all_verbs_in_one_page(compared, trees, tmp_path):
    model = compared / "networks" / SMALLEST / "seed-0"
    other = compared / "networks" / OTHER / "seed-0"
    assert leannet("evaluate", model, "--data", trees, "--compare", other, "--output", tmp_path / "evaluated").code == 0
    quick = ("--rounds", 3, "--output", tmp_path / "timed")
    assert leannet("bench", model, other, *quick).code == 0
    trained = leannet("train", SMALLEST, "--data", trees, *QUICK, "--output", tmp_path / "trained")
    assert trained.code == 0, trained.err
    folders = (compared, *(tmp_path / name for name in ("evaluated", "timed", "trained")))
    answer = leannet("report", *folders)
    assert answer.code == 0, answer.err
    page = (tmp_path / "runs" / "report" / "trees" / "report.html").read_text(encoding="utf-8")
    for folder in folders:
        assert str(folder) in page
    assert "bench1-1" in page
    assert "part1-latency-2" in page  # the bench timed what the comparison trained
    assert "data:image/jpeg" in page  # the sheet of the evaluation
    assert page.count("<h2>trees, test part: 15 images of 3 classes</h2>") == 1


def test_a_reproduction_is_reported_from_its_records_alone(tmp_path):
    if not RECORDS.is_dir():
        pytest.skip("no committed records here")
    answer = leannet("report", RECORDS, "--output", tmp_path / "page.html")
    assert (answer.code, answer.err) == (0, "")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for text in (
        "Table 1",
        "<h2>Ours, on ",
        "What accuracy costs",
        "Learning curves",
        "not testable at this budget",
        "The rule",
    ):
        assert text in page
    tables = json.loads((RECORDS / "tables" / "tables.json").read_text())
    rows = [row for row in tables["tables"]["Table 2"] if row["dataset"] == "cifar10"]
    drawn = json.loads(page.partition('data-for="part1-parameters">')[2].partition("</script>")[0])
    points = {trace["name"]: trace["y"] for trace in drawn["data"]}
    assert len(rows) == 4
    for row in rows:
        assert points[row["network"]] == [pytest.approx(row["top1"]["value"], abs=0.01)]
    assert (tmp_path / "page.html").stat().st_size < 6_000_000
    assert "a reproduction has a page of its own. Name it alone" in refusal("report", RECORDS, tmp_path)


def test_what_is_no_run(tmp_path):
    assert "it is no run folder" in refusal("report", tmp_path)
    assert "it is no run folder" in refusal("report", tmp_path / "nowhere")


def test_output_that_cannot_be_written(compared, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot write" in refusal("report", compared, "--output", tmp_path / "file" / "report.html")


def test_failing_report_loses_nothing(trees, tmp_path, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("no\nink")

    monkeypatch.setattr(importlib.import_module("leannet.report.html"), "write_report", fail)
    output = tmp_path / "out"
    answer = leannet("compare", SMALLEST, "--data", trees, *QUICK, "--output", output)
    assert answer.code == 0
    assert f"warning: no report was written: no ink. `leannet report {output}` makes it" in answer.err
    assert "Traceback" not in answer.err
    assert (output / "results.json").is_file()
    assert not (output / "report.html").exists()
    assert "report.html" not in answer.out
