"""The two pictures of an evaluation: what can be read in them, whatever classes are called and how many there are."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from leannet.data import Split
from leannet.measure import Predictions
from leannet.report.evaluation.confusion_picture import draw_confusion
from leannet.report.evaluation.contact_sheet import MARGIN, PICTURE, _cut, _font, draw_wrong_images

SVG = "{http://www.w3.org/2000/svg}"


def texts_of(picture):
    return [element.text for element in ElementTree.fromstring(picture).iter(f"{SVG}text")]


def confusion(classes, seed=0):
    return np.random.default_rng(seed).integers(0, 9, (classes, classes))


def size_of(picture):
    root = ElementTree.fromstring(picture)
    return [float(root.get(side).removesuffix("pt")) / 72 for side in ("width", "height")]


def test_confusion_matrix_names_classes_axes_and_counts():
    matrix = np.array([[11, 2, 0], [0, 1234, 5], [0, 0, 0]])
    texts = texts_of(draw_confusion(matrix, ("ash", "birch", "cedar"), "trees, test: 1,252 images"))
    assert {"predicted class", "true class (images)", "trees, test: 1,252 images"} < set(texts)
    assert {"ash", "birch", "cedar", "ash (13)", "birch (1,239)", "cedar (0)"} < set(texts)
    assert {"11", "2", "1,234"} < set(texts)  # 5 is a number of the scale too
    assert texts.count("0") == 1  # that of the scale: empty cells stay empty


@pytest.mark.parametrize(("classes", "numbered"), [(20, True), (21, False)])
def test_cells_have_numbers_where_there_are_few(classes, numbered):
    matrix = np.full((classes, classes), 777)
    texts = texts_of(draw_confusion(matrix, tuple(f"kind {n}" for n in range(classes)), ""))
    assert texts.count("777") == (classes**2 if numbered else 0)


def test_hundred_classes_are_all_named_and_do_not_overlap():
    names = tuple(f"kind {n}" for n in range(100))
    picture = draw_confusion(confusion(100), names, "")
    assert set(names) < set(texts_of(picture))
    rows = [e for e in ElementTree.fromstring(picture).iter(f"{SVG}text") if re.fullmatch(r"kind \d+ \(.*\)", e.text)]
    places = sorted(float(element.get("y")) for element in rows)
    assert len(places) == 100
    assert min(np.diff(places)) > 8  # points, the size of the font


def test_thousand_classes_do_not_make_a_huge_picture():
    picture = draw_confusion(confusion(1000), tuple(f"kind {n}" for n in range(1000)), "")
    assert max(size_of(picture)) < 45  # inches
    assert len(picture) < 4_000_000
    assert len([text for text in texts_of(picture) if text.startswith("kind ")]) == 2 * 250


@pytest.mark.parametrize("name", ["$x^2$", "a_b", "<b>&", "猫", "кошка", "100 %", r"\alpha", "[red]"])
def test_class_names_are_shown_as_they_are(name, recwarn):
    texts = texts_of(draw_confusion(confusion(2), (name, "other"), name))
    assert texts.count(name) == 2  # at its column, and as the title
    assert not recwarn.list


def test_long_class_name_is_cut():
    texts = texts_of(draw_confusion(confusion(2), ("long " * 20, "other"), "long " * 50))
    assert max(map(len, texts)) <= 80
    assert "long long long long lon…" in texts


def test_same_confusion_gives_the_same_file():
    arguments = (confusion(4), tuple("abcd"), "title")
    assert draw_confusion(*arguments) == draw_confusion(*arguments)


class Coloured:
    """Images of one colour each, the first one tall, the second one tiny."""

    COLOURS = ((200, 0, 0), (0, 200, 0), (0, 0, 200))
    SIZES = ((100, 400), (8, 8), (500, 300))

    def __len__(self):
        return 3

    def encoded(self, index):
        return Image.new("RGB", self.SIZES[index], self.COLOURS[index])

    def identifier(self, index):
        return f"folder/image {index}.png"

    def sizes(self):
        return np.ones(3, np.int64)


@pytest.fixture
def answers():
    """The first image is right; the third is wrong with more confidence than the second."""
    labels = torch.tensor([0, 0, 1])
    logits = torch.tensor([[5.0, 0.0], [0.0, 1.0], [3.0, 0.0]])
    split = Split(Coloured(), np.arange(3), labels.numpy())
    return split, Predictions.from_logits(logits, labels, split.identifiers())


def test_predictions_are_read_from_logits(answers):
    _, predictions = answers
    assert predictions.predicted.tolist() == [0, 1, 0]
    assert predictions.correct.tolist() == [True, False, False]
    chance = 1 / (1 + np.exp([-5.0, -1.0, -3.0]))
    assert predictions.probability == pytest.approx(chance)
    assert predictions.label_probability == pytest.approx([chance[0], 1 - chance[1], 1 - chance[2]])
    assert predictions.confidently_wrong().tolist() == [2, 1]


def test_equally_confident_answers_stay_in_order():
    labels = torch.zeros(300, dtype=torch.int64)
    logits = torch.tensor([[0.0, 1.0], [0.0, 2.0], [0.0, 3.0]]).repeat(100, 1)
    predictions = Predictions.from_logits(logits, labels, [""] * 300)
    assert predictions.confidently_wrong().tolist() == [*range(2, 300, 3), *range(1, 300, 3), *range(0, 300, 3)]


def test_contact_sheet_shows_the_images_in_order(answers):
    split, predictions = answers
    sheet = draw_wrong_images(split, predictions, predictions.confidently_wrong(), ("ash", "birch"))
    middle = MARGIN + PICTURE // 2
    assert sheet.getpixel((middle, middle)) == Coloured.COLOURS[2]
    assert sheet.getpixel((middle + PICTURE + MARGIN, middle)) == Coloured.COLOURS[1]
    assert sheet.getpixel((middle, MARGIN + 10)) == (255, 255, 255)  # wide image: its shape is kept
    assert sheet.getpixel((middle + PICTURE + MARGIN, MARGIN + 1)) == Coloured.COLOURS[1]  # tiny image: it is enlarged
    below = np.asarray(sheet)[MARGIN + PICTURE + 2 :, :PICTURE]
    assert (below < 128).any(axis=2).sum() > 100  # something is written


def test_contact_sheet_of_nothing_says_so(answers):
    split, predictions = answers
    sheet = draw_wrong_images(split, predictions, np.array([], np.int64), ("ash", "birch"))
    assert (np.asarray(sheet) < 128).any()


def test_contact_sheet_has_a_row_for_five_images(answers):
    split, predictions = answers
    heights = [draw_wrong_images(split, predictions, np.zeros(n, np.int64), ("a", "b")).height for n in (1, 5, 6, 25)]
    assert heights[0] == heights[1] < heights[2] < heights[3]
    assert heights[3] - MARGIN == 5 * (heights[0] - MARGIN)
    sixth = draw_wrong_images(split, predictions, np.array([0, 0, 0, 0, 0, 2]), ("a", "b"))
    assert sixth.getpixel((MARGIN + PICTURE // 2, heights[0] + PICTURE // 2)) == Coloured.COLOURS[2]


@pytest.mark.parametrize("size", [(1, 1000), (1000, 1), (192, 192), (193, 1), (1, 1)])
def test_contact_sheet_takes_images_of_any_shape(answers, size, monkeypatch):
    split, predictions = answers
    monkeypatch.setattr(Coloured, "SIZES", (size,) * 3)
    draw_wrong_images(split, predictions, predictions.confidently_wrong(), ("ash", "birch"))


def test_captions_are_cut_to_the_width_of_the_picture():
    font = _font(13)
    for text, ending, options in (("word " * 30, " (99.9 %)", {}), ("a/b/" * 40 + "name.jpg", "", {"from_left": True})):
        cut = _cut(text, font, ending, **options)
        assert font.getlength(cut) <= PICTURE
        assert cut.endswith(ending or "name.jpg")
        assert "…" in cut
    assert _cut("short", font, " (1 %)") == "short (1 %)"


def test_captions_have_letters_of_other_languages():
    """A letter that a font lacks is drawn as the same box as any other that it lacks."""
    font = _font(13)
    assert len({bytes(font.getmask(letter)) for letter in "éłжΩ→…"}) == 6
