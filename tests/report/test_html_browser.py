"""The report in a browser: it is drawn, sorted, pointed at, and read on a telephone; what is written in it is text."""

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect
from report_pages import CHROMIUM, CLASSES, EVIL, NETWORKS, chromium, make_comparison, open_page

from leannet.report.html import keep_disagreements, write_report

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


class Squares:
    """Images of a split that are one grey each."""

    def __init__(self, names):
        self.names = names
        self.labels = None

    def identifiers(self):
        return self.names

    def identifier(self, index):
        return self.names[index]

    def read(self, index):
        return Image.new("RGB", (8, 8), (6 * index, 0, 0))


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report with all that there may be, of networks and classes whose names are markup."""
    folder = make_comparison(tmp_path_factory.mktemp("runs") / "trees")
    split = Squares([f"test/{CLASSES[n % 4].replace('/', '_')}/{n}.png" for n in range(40)])
    split.labels = np.arange(40) % 4
    places = [folder / "networks" / name.replace("/", "_") / "seed-0" for name in NETWORKS]
    keep_disagreements(folder, split, CLASSES, places)
    write_report([folder], folder / "report.html")
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def wide(browser, report):
    return open_page(browser, report, width=1280)


def column(page, number):
    table = page.get_by_role("region", name="Networks", exact=True)
    return table.locator(f"tbody tr > :nth-child({number})").all_inner_texts()


def test_everything_is_drawn_without_a_complaint(wide):
    page, wrong = wide
    drawn = page.locator(".canvas.js-plotly-plot")
    assert drawn.count() == page.locator("script.plotted").count() == 8  # 3 costs, loss, classes, 3 matrices
    assert page.locator(".gallery img").count() > 10
    assert all(page.locator(".gallery img").evaluate_all("all => all.map((image) => image.naturalWidth === 8)"))
    assert all(page.locator("img").evaluate_all("all => all.map((image) => image.alt.length > 10)"))
    assert wrong == []


def test_names_are_shown_as_text_everywhere(wide):
    """In the table, in the captions, and in what plotly draws: its own letters, no markup."""
    page, wrong = wide
    assert EVIL in page.locator("h2").first.inner_text()
    assert any(EVIL in cell for cell in column(page, 1))
    assert any(EVIL in text for text in page.locator(".gallery figcaption").all_inner_texts())
    for name in ("part1-macs", "part1-loss", "part1-confusion-1", "part1-classes"):
        drawn = page.locator(f"#{name} text").all_text_contents()
        assert any(EVIL in text for text in drawn), name
    assert "$x^2$" in page.locator("#part1-confusion-1 text").all_text_contents()
    assert page.locator("script").count() == 2 + 8
    assert wrong == []


def test_classes_that_are_numbers_are_names(wide):
    page, _ = wide
    shown = page.locator("#part1-confusion-1 .xtick text").all_text_contents()
    assert shown == ["0", "1", "$x^2$", EVIL]


def test_heads_sort_with_the_mouse_and_the_keyboard(wide):
    page, _ = wide
    assert page.locator("th[aria-sort]").inner_text().startswith("top-1")
    accuracies = [float(text) for text in column(page, 2)]
    assert accuracies == sorted(accuracies, reverse=True)
    head = page.get_by_role("button", name="MACs (M)")
    head.click()
    assert [float(text) for text in column(page, 5)] == [5.0, 6.0, 7.0]
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Enter")
    assert [float(text) for text in column(page, 5)] == [7.0, 6.0, 5.0]
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    assert "MACs (M), descending" in page.get_by_role("status").inner_text()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert page.locator("th[aria-sort]").inner_text().startswith("median ms")
    assert [float(text) for text in column(page, 6)] == [9.0, 10.0, 11.0]


def test_pointing_at_a_network_shows_its_record(wide):
    page, _ = wide
    page.locator("#part1-macs").scroll_into_view_if_needed()
    box = page.locator("#part1-macs .scatterlayer .trace:nth-child(2) path.point").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    label = page.locator("#part1-macs .hoverlayer .hovertext")
    label.wait_for()
    said = label.text_content()
    for part in (EVIL, "% (", "7,000,000 MACs", "1,400,000 parameters", "median 11.00 ms", "Wilson, one seed"):
        assert part in said


def test_figures_follow_the_theme(wide):
    page, wrong = wide

    def colours():
        ink = page.evaluate("getComputedStyle(document.body).color")
        drawn = page.locator("#part1-macs .xtick text").first.evaluate("(text) => getComputedStyle(text).fill")
        return ink, drawn

    light = colours()
    page.emulate_media(color_scheme="dark")
    expect(page.locator("#part1-macs .xtick text").first).not_to_have_css("fill", light[1])  # the page forbids eval
    dark = colours()
    assert light[0] == light[1]
    assert dark[0] == dark[1] != light[0]
    page.evaluate("dispatchEvent(new Event('beforeprint'))")  # paper is white, whatever the screen is
    assert colours() == light
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert colours() == dark
    assert wrong == []


def test_telephone_scrolls_no_page_sideways(browser, report, wide):
    assert wide[0].locator("#part1-macs .textpoint").count() == 3
    page, wrong = open_page(browser, report, width=390)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    table = page.locator(".table").first
    assert table.evaluate("(table) => table.scrollWidth > table.clientWidth")  # it scrolls by itself
    assert table.get_attribute("tabindex") == "0"
    assert page.locator("#part1-macs .textpoint").count() == 0  # there the legend names the points
    assert wrong == []
