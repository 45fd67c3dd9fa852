"""Images through small exported files, against what numpy, pillow and torchvision compute without our code."""

import io
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torchvision.transforms import v2

import leannet_runtime
from exported_files import COLOURS, MEAN, SHARPNESS, STD, softmax, write_model
from leannet_runtime import Prediction, Preprocessing, UserError, decode_image
from leannet_runtime import predictor as predictor_module

RNG = np.random.default_rng(3)
EXITS = {"changes": {"early_exit": {"thresholds": [0.5]}}, "outputs": ("logits", "probabilities", "exit")}


def picture(width, height, tint=0):
    """A smooth picture of chance: noise of one pixel would tell nothing about where it was cut."""
    small = RNG.integers(0, 150, (max(height // 6, 1), max(width // 6, 1), 3), dtype=np.uint8)
    small[..., tint] += 100
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def file(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    write_model(folder / "inside.onnx")
    write_model(folder / "outside.onnx", changes={"preprocess": "outside"})
    write_model(folder / "exits.onnx", **EXITS)
    write_model(folder / "unnamed.onnx", changes={"label_names": None})
    return folder


@pytest.fixture(scope="module")
def inside(folder):
    return leannet_runtime.load(folder / "inside.onnx", threads=1)


def mean_logits(image):
    """Compute what the network inside answers to an RGB picture."""
    return np.asarray(image, dtype=np.float64).reshape(-1, 3).mean(axis=0) * float(SHARPNESS) / 255


def orientation(number):
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


def on_white(image):
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA")).convert("RGB")


def half_transparent(image):
    image = image.copy()
    image.putalpha(128)
    return image


DEEP = RNG.integers(0, 65536, (20, 30)).astype(np.uint16)
ODD = {
    "grey.png": (picture(20, 30).convert("L"), {}, lambda image: image.convert("RGB")),
    "alpha.png": (half_transparent(picture(31, 17, 1)), {}, on_white),
    "palette.gif": (picture(24, 24, 2).quantize(32), {}, lambda image: image.convert("RGB")),
    "deep.png": (Image.fromarray(DEEP), {}, lambda _: Image.fromarray(np.rint(DEEP / 257).astype(np.uint8))),
    "cmyk.jpg": (picture(40, 20).convert("CMYK"), {}, lambda image: image.convert("RGB")),
    "turned.jpg": (picture(40, 20, 1), {"exif": orientation(6)}, ImageOps.exif_transpose),
    "tall.webp": (picture(16, 200, 2), {"lossless": True}, lambda image: image.convert("RGB")),
    "pixel.bmp": (picture(1, 1), {}, lambda image: image),
}


@pytest.fixture(scope="module")
def odd_files(tmp_path_factory):
    """Files by name, and the logits that they deserve."""
    folder, logits = tmp_path_factory.mktemp("odd"), {}
    for name, (image, options, expected) in ODD.items():
        image.save(folder / name, **options)
        logits[name] = mean_logits(expected(Image.open(folder / name)).convert("RGB"))
    return folder, logits


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_odd_images_are_answered_in_order(inside, odd_files, batch_size):
    folder, logits = odd_files
    found = inside.predict([folder / name for name in ODD], topk=3, batch_size=batch_size)
    assert [each.name for each in found] == [str(folder / name) for name in ODD]
    for name, each in zip(ODD, found, strict=True):
        expected = softmax(logits[name])
        order = np.argsort(-expected)
        # Of grey images all classes are alike, and rounding alone decides which comes first.
        if np.diff(np.sort(expected)).min() > 1e-5:
            assert each.labels == tuple(COLOURS[label] for label in order), name
        assert each.probabilities == pytest.approx(expected[order], abs=1e-5), name
        assert (each.exit, each.error) == (None, None)


def test_damaged_images_have_errors_and_the_others_answers(inside, tmp_path):
    picture(12, 12, 1).save(tmp_path / "good.png")
    whole = file(picture(64, 64), "JPEG")
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.jpg").write_text("no image")
    names = ["cut.jpg", "good.png", "text.jpg", "missing.png", ".", "good.png"]
    found = inside.predict([tmp_path / name for name in names], topk=2, batch_size=4)
    assert [each.error is None for each in found] == [False, True, False, False, False, True]
    assert "truncated" in found[0].error
    assert found[2] == Prediction(str(tmp_path / "text.jpg"), (), (), None, "not an image")
    assert found[3].error == "no such file"
    assert found[1].labels[0] == found[5].labels[0] == "green"
    assert [each.error for each in inside.predict([tmp_path / "missing.png"])] == ["no such file"]
    assert inside.predict([]) == []


def test_every_kind_of_image_gives_the_same_answer(inside, tmp_path):
    image = picture(20, 14, 2)
    image.save(tmp_path / "a.png")
    kinds = [str(tmp_path / "a.png"), tmp_path / "a.png", file(image), image, np.asarray(image)]
    kinds.append(Image.open(tmp_path / "a.png"))
    found = inside.predict(kinds)
    assert {each.labels for each in found} == {found[0].labels}
    assert {each.probabilities for each in found} == {found[0].probabilities}
    path = str(tmp_path / "a.png")
    assert [each.name for each in found] == [path, path, "image 3", "image 4", "image 5", path]


def test_pixels_are_answered_as_numpy_computes(inside):
    pixels = RNG.integers(0, 256, (5, 9, 11, 3), dtype=np.uint8)
    expected = pixels.astype(np.float64).mean(axis=(1, 2)) * float(SHARPNESS) / 255
    answer = inside.run(pixels)
    assert answer.logits == pytest.approx(expected, abs=1e-4)
    assert answer.probabilities == pytest.approx(softmax(expected), abs=1e-5)
    assert (answer.logits.dtype, answer.exits) == (np.float32, None)
    assert inside.run([]).logits.shape == (0, 3)


def test_images_of_several_sizes_come_back_in_their_order(inside, monkeypatch):
    shapes = [(9, 5), (4, 4), (9, 5), (7, 3), (4, 4), (9, 5), (4, 4)]
    pixels = [RNG.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]
    expected = np.stack([mean_logits(each) for each in pixels])
    batches = []

    def witness(batch):
        batches.append(batch.shape)
        return type(inside).run_pixels(inside, batch)

    monkeypatch.setattr(inside, "run_pixels", witness)
    monkeypatch.setattr(predictor_module, "MOST_PIXELS_AT_ONCE", 2 * 9 * 5)
    mixed = [Image.fromarray(each) if number % 2 else each for number, each in enumerate(pixels)]
    assert inside.run(mixed).logits == pytest.approx(expected, abs=1e-4)
    # Equal sizes together, and no batch of more pixels than fit.
    assert batches == [(2, 9, 5, 3), (1, 9, 5, 3), (3, 4, 4, 3), (1, 7, 3, 3)]


def test_exits_are_told(folder):
    predictor = leannet_runtime.load(folder / "exits.onnx", threads=1)
    grey, red = np.full((6, 6, 3), 90, np.uint8), np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 255
    assert predictor.run([grey, red, grey]).exits.tolist() == [2, 1, 2]
    assert [each.exit for each in predictor.predict([red, grey, red])] == [1, 2, 1]


def test_outside_the_images_are_prepared_here(folder):
    predictor = leannet_runtime.load(folder / "outside.onnx", threads=1)
    images = [picture(40, 20), picture(23, 57, 1), picture(8, 8, 2)]
    theirs = v2.Compose([v2.Resize(16), v2.CenterCrop(8), v2.ToImage(), v2.ToDtype(torch.float32, True)])
    means = np.stack([theirs(image).numpy().mean(axis=(1, 2)) for image in images])
    expected = (means - np.array(MEAN)) / np.array(STD) * float(SHARPNESS)
    assert predictor.run(images).logits == pytest.approx(expected, abs=1e-3)
    assert [each.labels[0] for each in predictor.predict(images)] == [COLOURS[row.argmax()] for row in expected]


@pytest.mark.parametrize("size", [(9, 700), (700, 9), (701, 10), (3, 4000), (1, 17), (340, 20)])
@pytest.mark.parametrize(("img_size", "crop_pct"), [(8, 0.5), (24, 0.875), (9, 0.7), (7, 1.0)])
def test_very_long_images_are_cut_to_what_the_graph_would_keep(size, img_size, crop_pct):
    image = picture(*size, tint=1)
    description = Preprocessing(img_size, crop_pct, "bilinear")
    square = predictor_module._resized_middle(image, description)
    shorter = math.floor(img_size / crop_pct)
    assert square.size == (shorter, shorter)
    whole = v2.Resize(shorter)(image)
    theirs, ours = (np.asarray(v2.CenterCrop(img_size)(each)).astype(int) for each in (whole, square))
    assert np.abs(ours - theirs).max() <= 1  # pillow may take rows and columns in the other order


def test_large_images_are_resized_once_they_are_decoded(inside, monkeypatch):
    image = picture(90, 61)
    np.testing.assert_array_equal(inside.prepare(image), np.asarray(image))
    monkeypatch.setattr(predictor_module, "LARGE_PIXELS", 5000)
    np.testing.assert_array_equal(inside.prepare(image), np.asarray(v2.Resize(16)(image)))
    assert inside.prepare(picture(900, 3)).shape == (16, 16, 3)


def test_classes_without_names_are_numbers(folder):
    predictor = leannet_runtime.load(folder / "unnamed.onnx", threads=1)
    assert predictor.label_names == ("0", "1", "2")
    assert predictor.predict([picture(6, 6, 1)], topk=9)[0].labels[0] == "1"


def test_what_is_no_image_is_refused(inside):
    for wrong in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((4, 4, 4), np.uint8), 7):
        with pytest.raises(UserError, match=r"cannot use image 1: it is .* Give a picture of pillow"):
            inside.run([wrong])
    with pytest.raises(UserError, match=r"cannot use image 2: it is float64 \(4, 4, 3\)"):
        inside.predict([picture(4, 4), np.zeros((4, 4, 3))])
    with pytest.raises(UserError, match=r"cannot use image 1: it is int"):
        inside.predict([3])
    assert inside.predict([np.zeros((0, 4, 3), np.uint8)])[0].error == "it has no pixels"
    assert inside.predict([Image.new("RGB", (0, 4))])[0].error == "it has no pixels"
    for one in ("a.jpg", Path("a.jpg"), b"x", picture(4, 4), np.zeros((4, 4, 3), np.uint8)):
        with pytest.raises(UserError, match=r"cannot predict: one image is given \(\w+\), not a list. Give \[image\]"):
            inside.predict(one)
    for options in ({"topk": 0}, {"batch_size": 0}):
        with pytest.raises(UserError, match="0: it is below 1"):
            inside.predict([picture(4, 4)], **options)


def test_a_graph_that_answers_something_else_is_named(inside):
    """Sizes that a graph does not state are seen only when it has run."""
    wrong = predictor_module.OnnxPredictor(replace(inside.file, num_classes=4))
    with pytest.raises(UserError, match=r"cannot use .*it answers 2 images with \(2, 3\), not \(2, 4\)"):
        wrong.run(np.zeros((2, 4, 4, 3), np.uint8))
    with pytest.raises(UserError, match=r"cannot run .*inside\.onnx: "):
        inside.run_pixels(np.zeros((2, 4, 4, 4), np.uint8))


def test_progress_is_told(inside):
    done = []
    inside.predict([picture(5, 5)] * 7, batch_size=3, on_batch=done.append)
    assert done == [3, 6, 7]


def test_neither_torch_nor_onnx_is_needed(folder, tmp_path):
    picture(10, 10, 2).save(tmp_path / "blue.png")
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['torch', 'torchvision', 'timm', 'onnx', 'leannet', 'rich']))\n"
        "import leannet_runtime\n"
        f"predictor = leannet_runtime.load({str(folder / 'inside.onnx')!r}, threads=1)\n"
        f"print(predictor.predict([{str(tmp_path / 'blue.png')!r}])[0].labels[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == ("blue\n", "", 0)


def test_decoded_pictures_are_taken_as_they_are(inside):
    image = picture(40, 20)
    turned = decode_image(file(image, "JPEG", exif=orientation(6)))
    expected = mean_logits(turned)
    assert inside.run([turned]).logits[0] == pytest.approx(expected, abs=1e-4)
