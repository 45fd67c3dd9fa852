"""The page answers as the Python runtime does, however an image is given to it, and shows text as text."""

import json
import re

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from web_pages import LABELS, Visit, encode, noise, serve, turned, with_alpha

from exported_files import COLOURS, colour_model, description, softmax, write_model
from leannet.data import open_source
from leannet_runtime import Preprocessing, load

pytestmark = pytest.mark.slow


def digits():
    images = open_source("digits").splits["test"]
    return [encode(images.read(number)) for number in range(3)]


PICTURES = [
    *digits(),
    encode(noise(300, 200, 1)),
    encode(noise(40, 700, 2)),
    encode(noise(900, 20, 3)),
    encode(noise(1, 1, 4)),
    encode(with_alpha(noise(64, 48, 5))),
    turned(noise(50, 90, 6), 6),
    encode(noise(80, 60, 7).convert("L")),
    encode(noise(2500, 1800, 8), compress_level=1),  # so large that the page resizes it
]


VERY_LONG = (4, 5)  # of PICTURES: one side more than 16 times the other


def test_answers_are_those_of_the_runtime(visit, page_folder):
    predictor = load(page_folder / "model.onnx")
    expected = predictor.predict(PICTURES, topk=5)
    assert len({each.labels[0] for each in expected}) > 1  # else anything would pass
    for number, (content, wanted) in enumerate(zip(PICTURES, expected, strict=True)):
        found = visit.answer(content, f"picture {number}")
        assert found["labels"] == list(wanted.labels)
        # The middle of very long pictures is cut out by the file, by half a pixel beside where the runtime does it.
        tolerance = 0.03 if number in VERY_LONG else 1e-5
        np.testing.assert_allclose(found["probabilities"], wanted.probabilities, atol=tolerance)


def test_answers_are_those_of_the_network(visit, model_folder):
    """The whole way, from the file to the probabilities, without anything of ours but the preprocessing."""
    network = timm.create_model(f"local-dir:{model_folder}", pretrained=True).eval()
    picture = noise(120, 90, 9)
    pixels = Preprocessing(32, 0.9, "bicubic")
    with torch.inference_mode():
        logits = network(torch.from_numpy(pixels.normalise(pixels(picture)))[None])[0].numpy()
    found = visit.answer(encode(picture))
    wanted = dict(zip(LABELS, softmax(logits), strict=True))
    assert found["labels"][0] == max(wanted, key=wanted.get)
    for label, probability in zip(found["labels"], found["probabilities"], strict=True):
        assert abs(probability - wanted[label]) < 0.02  # pixels lie one level of 255 beside pillow's now and then


def test_names_are_shown_as_text(visit):
    """All labels are shown for five of six classes, so at least one of the two with markup is among them."""
    shown = visit.answer(encode(noise(40, 40)), name="<b>bold</b>.png")
    assert shown["name"] == "<b>bold</b>.png"
    assert {label for label in shown["labels"] if "<" in label}
    for markup in ("main script", "main img", "main b"):
        assert visit.page.locator(markup).count() == 0


def test_several_files_at_once_and_one_that_is_none(visit):
    files = [
        {"name": name, "mimeType": "image/*", "buffer": content}
        for name, content in (("a", encode(noise(30, 30))), ("b", b"no image"), ("c", encode(noise(20, 20))))
    ]
    visit.page.set_input_files("#files", files)
    visit.wait_for("3 images")
    answers = visit.answers()[:3]
    assert [each["name"] for each in answers] == ["c", "b", "a"]
    assert [len(each["labels"]) for each in answers] == [5, 0, 5]
    assert "Not answered: this browser cannot read it as an image" in answers[1]["text"]


def test_time_is_told_with_the_median_of_later_answers(visit):
    visit.again()
    content = encode(noise(30, 30))
    texts = [visit.answer(content, f"run {number}")["text"] for number in range(3)]
    assert re.search(r"Answered in \d+\.\d ms$", texts[0])
    assert re.search(r"Answered in \d+\.\d ms \(median of the last 2: \d+\.\d ms\)$", texts[2])


def test_dropped_and_pasted_files_are_answered(visit):
    content = list(encode(noise(30, 30)))
    for kind, name in (("drop", "dropped.png"), ("paste", "pasted.png")):
        visit.page.evaluate(GIVE, [kind, name, content])
        visit.wait_for(f"{name}: ")
        assert visit.answers()[0]["name"] == name
    visit.page.evaluate(GIVE, ["drop", None, []])
    visit.wait_for("What was dropped is no file.")


GIVE = """([kind, name, content]) => {
  const given = new DataTransfer();
  if (name) given.items.add(new File([new Uint8Array(content)], name, { type: "image/png" }));
  document.getElementById("drop").dispatchEvent(kind === "drop"
    ? new DragEvent("drop", { dataTransfer: given, bubbles: true, cancelable: true })
    : new ClipboardEvent("paste", { clipboardData: given, bubbles: true }));
}"""


@pytest.fixture
def colour_page(page_folder, tmp_path):
    """The page around a network that tells colours, with exits and without names; anybody can compute its answers."""
    for path in page_folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    for name in ("model.onnx", "model.json"):
        (tmp_path / name).unlink()
    write_model(tmp_path / "model.onnx", colour_model(outputs=("logits", "probabilities", "exit")))
    described = json.loads((page_folder / "model.json").read_text())
    accuracy = {"value": 12.34, "low": 1, "high": 2, "split": "test", "data": "<i>colours</i>", "images": 12345}
    described["description"] = description(accuracy=accuracy, int8={"scheme": "any"})
    (tmp_path / "model.json").write_text(json.dumps(described))
    return tmp_path


def test_exits_and_what_was_measured_are_shown(colour_page, browser):
    with serve(colour_page) as address:
        visit = Visit(browser, address)
        facts = visit.page.locator("#facts").text_content()
        assert facts == "3 classes \u00b7 12.3 % right on 12,345 images of <i>colours</i> (test) \u00b7 8-bit weights"
        assert visit.page.title() == "colours \u00b7 leannet"
        for colour, leaves_by in (((200, 100, 0), 1), ((90, 90, 90), 2)):
            found = visit.answer(encode(Image.new("RGB", (10, 8), colour)), str(colour))
            wanted = softmax(np.array(colour) * 8.0 / 255)
            assert found["labels"] == [COLOURS[number] for number in np.argsort(-wanted, kind="stable")]
            np.testing.assert_allclose(found["probabilities"], sorted(wanted, reverse=True), atol=1e-5)
            assert f"ms, by exit {leaves_by}" in re.sub(r" \(median.*?\)", "", found["text"])
        visit.close()
        assert visit.complaints == []


def test_a_missing_network_is_told(colour_page, browser):
    (colour_page / "model.onnx").unlink()
    with serve(colour_page) as address:
        visit = Visit(browser, address, wait_for="The network cannot be loaded: model.onnx is not there (404)")
        visit.close()
