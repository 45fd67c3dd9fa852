"""A figure drawn again: ours read as trainings write it, the page, the picture, and the table."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import numpy as np
import pytest
from emgnet_records import CORRECT, MACS, MEASURED, write_record, write_records

from leannet.papers import published
from leannet.papers.reproduce import begin_folder, find_drawing, reproduce_figure, write_reproduction
from leannet.papers.reproduce.picture import INK, PAPER, draw_figure
from leannet_runtime import UserError

SVG = "{http://www.w3.org/2000/svg}"


def reproduce(records):
    return reproduce_figure(find_drawing("emgnet", 3), records)


@pytest.fixture
def records(tmp_path):
    return write_records(tmp_path / "records")


@pytest.fixture
def written(records, tmp_path):
    """The folder of a whole reproduction."""
    begin_folder(tmp_path / "out")
    write_reproduction(reproduce(records), tmp_path / "out", "leannet reproduce emgnet --figure 3")
    return tmp_path / "out"


def table(folder):
    return list(csv.DictReader((folder / "figure_3.csv").open(encoding="utf-8")))


def test_table_holds_every_published_point_with_its_figures(written):
    rows = {(row["network"], row["exit"]): row for row in table(written)}
    figures = [figure for figure in published(dataset="cifar10") if figure.paper == "emgnet"]
    assert len(figures) == 2 * len(rows) == 32
    for figure in figures:
        row = rows[figure.network, "" if figure.exit is None else str(figure.exit)]
        assert float(row[f"published_{figure.quantity}"]) == figure.value


def test_table_holds_ours_as_they_were_recorded(written):
    for row in table(written):
        correct, macs = CORRECT[row["network"]], MACS[row["network"]]
        if row["network"] == "emgnet56_cifar":
            macs = MEASURED  # gates open as on the test images
        if row["exit"]:
            place = 3 if row["exit"] == "ensemble" else int(row["exit"]) - 1
            correct, macs = correct[place], macs[min(place, 2)]  # an ensemble runs everything
        assert float(row["top1"]) == correct / 100
        assert float(row["macs"]) == pytest.approx(macs, abs=1)
        assert float(row["low"]) < correct / 100 < float(row["high"])
        assert row["seed"] == "0"


def test_wilson_ends_of_the_table_are_those_of_scipy(written):
    from scipy.stats import binomtest

    for row in table(written):
        ends = binomtest(round(float(row["top1"]) * 100), 10_000).proportion_ci(method="wilson")
        assert (float(row["low"]), float(row["high"])) == pytest.approx((100 * ends.low, 100 * ends.high), abs=1e-4)


def texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_picture_is_the_same_twice_and_says_what_it_shows(records):
    reproduction = reproduce(records)
    svg = draw_figure(reproduction)
    assert draw_figure(reproduction) == svg
    said = texts(svg)
    for text in ("MACs (M)", "top-1 on CIFAR-10 (%)", "ours: 3 epochs of 45,000 images, seed 0", "EMGNet", "SCAN"):
        assert text in said
    assert "published: Figure 3, read off, ±0.3 points, ±2 %" in said
    # Six ensembles, three published and three of ours.
    assert said.count("E") == 6


def places(svg, style):
    """Return where the markers of a style stand, in the picture's units."""
    uses = ElementTree.fromstring(svg).iter(f"{SVG}use")
    return [(float(use.get("x")), float(use.get("y"))) for use in uses if use.get("style", "").startswith(style)]


def test_points_stand_where_their_numbers_say(records):
    """Of the grey single networks: one linear map takes MACs and accuracy, published and ours, to their places."""
    svg = draw_figure(reproduce(records))
    names = [name for name in CORRECT if name.startswith("resnet")]
    hollow = places(svg, "fill-opacity: 0; stroke: #767676")
    filled = places(svg, f"fill: #767676; stroke: {PAPER}")
    assert len(hollow) == len(filled) == len(names)
    plotted = [
        [published(name, quantity, dataset="cifar10")[0].value for name in names] for quantity in ("macs", "top1")
    ]
    recorded = [[MACS[name] for name in names], [CORRECT[name] / 100 for name in names]]
    for axis, sign in ((0, 1), (1, -1)):
        values, seen = plotted[axis] + recorded[axis], [place[axis] for place in hollow + filled]
        slope, offset = np.polyfit(values, seen, 1)
        assert slope * sign > 0
        assert np.polyval((slope, offset), values) == pytest.approx(seen, abs=0.01)


class Page(HTMLParser):
    """Counts rows, and what would be fetched from elsewhere."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.fetched, self.text, self.open = [], [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.fetched += [value for name, value in attrs if name in ("src", "href") and not value.startswith("#")]

    def handle_data(self, data):
        self.text += data


def test_page_holds_everything_and_fetches_nothing(written):
    text = (written / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.fetched == []
    assert not {"link", "img", "iframe"} & set(page.tags)
    assert page.tags.count("script") == 2 + 2  # that of the page and plotly; the numbers of accuracy over costs
    assert page.tags.count("svg") == 1
    assert page.tags.count("tr") == 1 + 16 + 1 + 7 + 1 + 7  # points, networks, records
    assert page.tags.count("caption") == 2
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    assert INK not in text[text.index("<svg") :]  # the picture takes the page's colours
    assert "stroke: currentColor" in text
    for words in ("leannet reproduce emgnet --figure 3", "Example <CPU>", "not testable at this", "0123456789ab"):
        assert words in page.text
    assert "<CPU>" not in text  # what a record says is text


def test_claims_are_written_with_rule_and_provenance(written):
    content = json.loads((written / "claims.json").read_text(encoding="utf-8"))
    assert {record["network"] for record in content["records"]} == set(CORRECT)
    assert content["ours"] == "3 epochs of 45,000 images, seed 0"
    assert "Newcombe" in content["rule"]["Accuracy"]
    assert content["environment"]["packages"]["matplotlib"]
    assert len(content["claims"]) == 9


def test_each_seed_is_a_point(records):
    write_record(records, "resnet20_cifar", 6600, seed=1, name="again")
    reproduction = reproduce(records)
    rows = [row for row in reproduction.rows if row.network == "resnet20_cifar"]
    assert [(row.seed, row.ours.top1.value) for row in rows] == [(0, 65.0), (1, 66.0)]
    assert "ours: 3 epochs of 45,000 images, seeds 0, 1" in texts(draw_figure(reproduction))


def test_missing_networks_are_named_with_their_command(tmp_path):
    reproduction = reproduce(write_records(tmp_path / "records", without=("resnet44_cifar",)))
    (note,) = reproduction.notes
    assert note.startswith("no record of ResNet-44: leannet train resnet44_cifar --recipe emgnet --data ")
    assert [row.ours for row in reproduction.rows if row.network == "resnet44_cifar"] == [None]
    assert draw_figure(reproduction)


def test_what_does_not_belong_is_left_out_and_said(records):
    write_record(records, "sm_v2", 5000)
    write_record(records, "resnet20_cifar", 100, name="other", classes=["ash", "birch"])
    unfinished = write_record(records, "resnet20_cifar", 100, name="unfinished")
    (unfinished / "results.json").unlink()
    (records / "evaluation").mkdir()
    (records / "evaluation" / "args.yaml").write_text("{verb: evaluate, model: x}")
    reproduction = reproduce(records)
    assert len(reproduction.records) == len(CORRECT)
    assert reproduction.notes == (
        f"{records}/other is left out: it was not trained on CIFAR-10",
        f"{records}/sm_v2 is left out: sm_v2 is not in the figure",
        f"{records}/unfinished is left out: its training is not finished",
    )


def test_two_records_of_one_training_are_refused(records):
    write_record(records, "resnet20_cifar", 6600, name="again")
    with pytest.raises(UserError, match=r"two records of resnet20_cifar with seed 0: .*again and .*resnet20_cifar\."):
        reproduce(records)


def spoil(folder, change):
    content = json.loads((folder / "results.json").read_text())
    change(content)
    (folder / "results.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda content: content.pop("test"), "it has no test"),
        (lambda content: content["test"]["exits"].pop("exit2"), "it has the exits exit1, exit3, ensemble"),
        (lambda content: content["test"]["exits"]["exit1"].update(low=99), "no interval"),
        (lambda content: content["test"]["exits"]["exit1"].update(value=float("nan")), "no interval"),
        (lambda content: content["test"]["exits"]["exit1"].update(value="much"), "could not convert"),
        (lambda content: content["exit_macs"]["measured"].pop(), "list index out of range"),
        (lambda content: content["exit_macs"].update(measured=[1, 2, None]), "None is no number of MACs"),
        (lambda content: content.update(epochs="3"), "3 is no count"),
        (lambda content: content.update(test=[]), "list indices"),
    ],
)
def test_damaged_results_are_named(records, change, why):
    spoil(records / "emgnet56_cifar", change)
    with pytest.raises(UserError) as error:
        reproduce(records)
    assert str(error.value).startswith(f"cannot use {records}/emgnet56_cifar/results.json: ")
    assert why in str(error.value)


def test_results_that_are_no_json_are_named(records):
    (records / "resnet20_cifar" / "results.json").write_text('{"test": ')
    with pytest.raises(UserError, match=r"cannot use .*resnet20_cifar/results\.json: Expecting value.* Train anew"):
        reproduce(records)
    (records / "resnet20_cifar" / "environment.json").unlink()
    with pytest.raises(UserError, match=r"cannot use .*/environment\.json: No such file"):
        reproduce(records)
