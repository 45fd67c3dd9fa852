"""The report as a file: what is in it, what is escaped, how large it is, and that it comes from the records alone."""

import json
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from report_pages import EVIL, make_comparison
from sklearn.metrics import confusion_matrix

from leannet.page import Figure, figure_html, page_html, style_of
from leannet.report.html import write_report
from leannet.report.html.class_plots import confusions
from leannet.report.html.front import pareto_front
from leannet.report.html.pictures import choose_disagreements, keep_pictures, read_pictures
from leannet.report.html.records import Answers
from leannet_runtime import UserError

RESULTS = Path(__file__).parents[2] / "results"
MOST_BYTES = 6_000_000


class Text(HTMLParser):
    """What can be read in a page, and its elements."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.text, self.hidden = [], [], False
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.hidden = tag in ("script", "style")

    def handle_endtag(self, tag):  # noqa: ARG002  (it is how HTMLParser calls it)
        self.hidden = False

    def handle_data(self, data):
        if not self.hidden:
            self.text.append(data)


def plotted(page):
    """Return what plotly is given, by the name of the figure."""
    found = re.findall(r'class="plotted" data-for="([\w-]+)">(.*?)</script>', page, re.DOTALL)
    return {name: json.loads(content) for name, content in found}


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=8))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_front_is_what_nothing_dominates(points):
    def dominated(one):
        return any(
            other[0] <= one[0] and other[1] >= one[1] and (other[0] < one[0] or other[1] > one[1]) for other in points
        )

    front = pareto_front(points)
    assert sorted(front) == [index for index, point in enumerate(points) if not dominated(point)]
    assert [points[index][0] for index in front] == sorted(points[index][0] for index in front)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = make_comparison(tmp_path_factory.mktemp("runs") / "trees")
    write_report([folder], folder / "report.html")
    return (folder / "report.html").read_text(encoding="utf-8")


def test_names_cannot_leave_their_place(page):
    assert EVIL not in page
    text = "".join(Text(page).text)
    assert text.count(EVIL) > 3
    assert sum(tag == "script" for tag, _ in Text(page).elements) == 2 + len(plotted(page))
    assert not any(name.startswith("on") for _, attributes in Text(page).elements for name in attributes)


def test_nothing_comes_from_elsewhere(page):
    for _, attributes in Text(page).elements:
        for name in ("src", "href", "srcset", "data", "action"):
            assert attributes.get(name, "data:").startswith("data:")
    assert page.count("plotly.js v") == 1  # the head of its script
    assert "default-src 'none'" in page


def test_plotly_knows_every_word_of_the_figures(page):
    graph_objects = pytest.importorskip("plotly.graph_objects")
    figures = plotted(page)
    assert len(figures) == 8
    for content in figures.values():
        graph_objects.Figure(content)  # raises at a property that there is not


def test_points_are_the_records(page):
    for name, costs in (("macs", [5.0, 6.0, 7.0]), ("parameters", [2.0, 1.7, 1.4]), ("latency-1", [9.0, 10.0, 11.0])):
        front, *points = plotted(page)[f"part1-{name}"]["data"]
        assert sorted(trace["x"][0] for trace in points) == sorted(costs)
        assert [(trace["error_y"]["array"], trace["error_y"]["arrayminus"]) for trace in points] == [([4], [5])] * 3
        assert {trace["marker"]["symbol"] for trace in points} == {style_of(n).symbol for n in range(3)}
        assert front["line"]["shape"] == "hv"
    # The last network is the most accurate one, and has the fewest parameters and the most MACs.
    assert plotted(page)["part1-parameters"]["data"][0]["x"] == [1.4]
    assert plotted(page)["part1-macs"]["data"][0]["x"] == [5.0, 6.0, 7.0]


def test_what_is_missing_is_said(tmp_path):
    folder = make_comparison(tmp_path / "trees", latency=False)
    for path in folder.rglob("predictions.csv"):
        path.unlink()
    write_report([folder], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert set(plotted(page)) == {"part1-parameters", "part1-macs", "part1-loss"}
    text = "".join(Text(page).text)
    assert "no answers to single images of" in text
    assert "no latency of some networks" in text


@pytest.mark.parametrize("name", ["digits", "cifar10", "clothing", "train_cifar10/sm_v2"])
def test_committed_records_make_a_page(name, tmp_path):
    if not (RESULTS / name).is_dir():
        pytest.skip("no committed records here")
    for file in ("one.html", "two.html"):
        write_report([RESULTS / name], tmp_path / file)
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()
    assert (tmp_path / "one.html").stat().st_size < MOST_BYTES
    page = Text((tmp_path / "one.html").read_text(encoding="utf-8"))
    content = json.loads((RESULTS / name / "results.json").read_text())
    found = content["rows"] if "rows" in content else [content["test"]]
    for row in found:
        assert f"{row['top1']['value']:.2f}" in page.text


def test_many_networks_and_classes_stay_small(tmp_path):
    classes = tuple(f"a class with a long name, number {n}" for n in range(100))
    networks = tuple(f"network{n}" for n in range(60))
    folder = make_comparison(tmp_path / "many", networks, tuple(name.replace(",", "") for name in classes), images=1000)
    write_report([folder], tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < MOST_BYTES
    drawn = plotted((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert len(set(drawn["part1-confusion-1"]["data"][0]["x"])) == 100  # names that are cut stay apart


def test_networks_of_several_runs_are_told_apart(tmp_path):
    folders = [make_comparison(tmp_path / name, ("sm_v2",)) for name in ("one", "two")]
    write_report([*folders, folders[0]], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    _, *points = plotted(page)["part1-macs"]["data"]
    assert {trace["name"] for trace in points} == {"sm_v2 (one)", "sm_v2 (two)"}


def test_matrices_are_those_of_scikit_learn():
    random = np.random.default_rng(0)
    labels, first, second = random.integers(0, 4, (3, 50))
    answers = [
        Answers("a", n, ("",) * 50, labels, predicted, labels / 4) for n, predicted in enumerate((first, second))
    ]
    expected = [confusion_matrix(labels, predicted, labels=range(4)) for predicted in (first, second)]
    assert confusions(answers, 4)["a"].tolist() == np.stack(expected).tolist()


@given(st.lists(st.lists(st.integers(0, 2), min_size=6, max_size=6), max_size=4), st.integers(0, 7))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_disagreements_are_where_answers_differ(answers, most):
    labels = np.array([0, 1, 2, 0, 1, 2])
    found = choose_disagreements(labels, [np.array(each) for each in answers], most).tolist()
    differ = [n for n in range(6) if len({each[n] for each in answers}) > 1]
    assert len(found) == min(most, len(differ))
    assert set(found) <= set(differ)
    split = [abs(2 * sum(each[n] == labels[n] for each in answers) - len(answers)) for n in found]
    assert split == sorted(split)


class OnePicture:
    def __init__(self, size):
        self.size = size

    def read(self, index):
        return Image.new("RGB", self.size, (index, 2, 3))

    def identifier(self, index):
        return f"../{index} <b>.png"


@pytest.mark.parametrize(("size", "kept"), [((8, 5), (8, 5)), ((640, 320), (128, 64))])
def test_pictures_are_small_copies(tmp_path, size, kept):
    keep_pictures(tmp_path, OnePicture(size), np.array([4, 2]))
    pictures = read_pictures(tmp_path)
    assert [picture.image for picture in pictures] == ["../4 <b>.png", "../2 <b>.png"]
    for picture, red in zip(pictures, (4, 2), strict=True):
        with Image.open(picture.file) as image:
            assert image.size == kept
            assert np.abs(np.asarray(image)[0, 0] - np.array([red, 2, 3])).max() <= 2
    keep_pictures(tmp_path, OnePicture(size), np.array([], np.int64))
    assert read_pictures(tmp_path) == ()


def test_pictures_from_elsewhere_are_not_read(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.png")
    run = tmp_path / "run"
    run.mkdir()
    keep_pictures(run, OnePicture((8, 8)), np.array([1]))
    listed = run / "disagreements.json"
    listed.write_text(listed.read_text().replace("disagreements/0.png", "../secret.png"))
    assert read_pictures(run) == ()


def test_page_without_figures_has_no_plotly():
    assert len(page_html("<title>", "")) < 30_000
    assert "&lt;title&gt;" in page_html("<title>", "")


def test_figure_must_be_finite():
    figure = Figure("name", "", "", "", [{"type": "scatter", "x": [float("nan")]}], {})
    with pytest.raises(ValueError, match="JSON"):
        figure_html(figure)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: shutil.rmtree(folder), "it is no run folder"),
        (lambda folder: (folder / "results.json").unlink(), "the run is not finished"),
        (lambda folder: (folder / "results.json").write_text("{"), "damaged or of another version"),
        (lambda folder: (folder / "results.json").write_text('{"rows": []}'), "damaged or of another version"),
        (lambda folder: (folder / "args.yaml").write_text("- a"), "damaged or of another version"),
        (lambda folder: (folder / "args.yaml").write_text("verb: other"), "of no verb that is known"),
        (lambda folder: next(folder.rglob("predictions.csv")).write_text("image,label,predicted\na,b,c"), "damaged"),
    ],
)
def test_damaged_records_are_named(tmp_path, damage, said):
    folder = make_comparison(tmp_path / "trees")
    damage(folder)
    with pytest.raises(UserError, match=said) as caught:
        write_report([folder], tmp_path / "new" / "report.html")
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_plotly_is_not_imported_before_it_is_needed():
    import subprocess

    code = "import sys, leannet.report; print([name for name in sys.modules if 'plotly' in name or name == 'jinja2'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "plotly" not in done.stdout
