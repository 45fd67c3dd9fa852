"""The pixels that the page makes of a file are those of the Python runtime, and of pillow where it resizes."""

import io
import json
import math

import numpy as np
import pytest
from PIL import Image, features
from web_pages import encode, noise, swapped_profile, turned, with_alpha

from leannet_runtime import Preprocessing, decode_image

pytestmark = pytest.mark.slow

COLOUR = noise(56, 40)
DEEP = Image.fromarray(np.random.default_rng(7).integers(0, 65536, (40, 56)).astype(np.uint16))
FRAMES = [Image.new("RGB", COLOUR.size, colour) for colour in ("red", "blue")]

# How many levels of 255 a value may differ by: canvases keep transparent colours premultiplied, browsers round 16 bits
# in their own way, and decoders of JPEG may differ.
FILES = {
    "colour": (encode(COLOUR), 0),
    "grey": (encode(COLOUR.convert("L")), 0),
    "palette": (encode(COLOUR.quantize(64)), 0),
    "one bit": (encode(COLOUR.convert("1")), 0),
    "bmp": (encode(COLOUR, "BMP"), 0),
    "first frame": (encode(COLOUR, "GIF", save_all=True, append_images=FRAMES), 0),
    "webp": (encode(COLOUR, "WEBP", lossless=True), 0),
    "alpha": (encode(with_alpha(COLOUR)), 1),
    "grey with alpha": (encode(with_alpha(COLOUR.convert("L"))), 1),
    "16 bits": (encode(DEEP), 1),
    "jpeg": (encode(COLOUR, "JPEG", quality=90), 3),
    "jpeg, whole colours": (encode(COLOUR, "JPEG", quality=90, subsampling=0), 3),
    "one pixel": (encode(noise(1, 1)), 0),
    **{f"turned {orientation}": (turned(COLOUR, orientation), 0) for orientation in range(2, 9)},
}


@pytest.fixture
def preparing(page_folder):
    return json.loads((page_folder / "model.json").read_text())["preparing"]


@pytest.mark.parametrize("name", FILES)
def test_pixels_are_those_of_the_runtime(visit, preparing, name):
    content, levels = FILES[name]
    found, wanted = visit.pixels(content, preparing), np.asarray(decode_image(content))
    assert found.shape == wanted.shape
    assert np.abs(found.astype(int) - wanted).max() <= levels


@pytest.mark.skipif(not features.check("littlecms2"), reason="this pillow makes no colour profiles")
def test_colour_profiles_change_nothing(visit, preparing):
    content = encode(COLOUR, icc_profile=swapped_profile())
    assert Image.open(io.BytesIO(content)).info["icc_profile"]
    np.testing.assert_array_equal(visit.pixels(content, preparing), np.asarray(COLOUR))


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(200, 150), (150, 200), (90, 1300), (40, 56), (33, 20), (7, 100)])
def test_large_pictures_are_resized_as_pillow_does(visit, preparing, interpolation, size):
    preprocessing = Preprocessing(24, 0.75, interpolation)
    preparing |= {"large_pixels": 0, "short": math.floor(24 / 0.75), "interpolation": interpolation}
    black_and_white = np.random.default_rng(1).integers(0, 2, (size[1], size[0], 3), dtype=np.uint8) * 255
    for picture in (noise(*size), Image.fromarray(black_and_white)):
        found = visit.pixels(encode(picture), preparing)
        np.testing.assert_array_equal(found, np.asarray(preprocessing.resize(picture)))


def test_a_picture_of_several_strips(visit, preparing):
    """More pixels than the page reads at a time, for each order of the two passes."""
    for size in ((1400, 800), (500, 2200)):
        picture = noise(*size)
        found = visit.pixels(encode(picture, compress_level=1), preparing | {"large_pixels": 2**20})
        np.testing.assert_array_equal(found, np.asarray(Preprocessing(32, 0.9, "bicubic").resize(picture)))


@pytest.mark.parametrize("size", [(10, 301), (302, 11)])
def test_the_middle_of_very_long_pictures_is_taken(visit, preparing, size):
    """16 times as long as wide, and one more where that keeps the middle where it is."""
    picture = noise(*size)
    short, long = min(size), max(size)
    kept = 16 * short + long % 2
    begin = (long - kept) // 2
    box = (0, begin, short, begin + kept) if size[1] > size[0] else (begin, 0, begin + kept, short)
    found = visit.pixels(encode(picture), preparing | {"large_pixels": 0})
    np.testing.assert_array_equal(found, np.asarray(Preprocessing(32, 0.9, "bicubic").resize(picture.crop(box))))


def test_too_many_pixels_are_refused(visit, preparing):
    with pytest.raises(Exception, match="it has 56 x 40 pixels, more than the limit of 2,000"):
        visit.pixels(encode(COLOUR), preparing | {"most_pixels": 2000})
