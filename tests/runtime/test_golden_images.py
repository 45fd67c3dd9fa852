"""Twenty and more odd images, decoded and prepared, against pillow's and torchvision's own functions.

What is expected is made without our code: by `PIL.ImageOps.exif_transpose`, `PIL.Image.alpha_composite` and `convert`,
then by torchvision's Resize and CenterCrop.
"""

import io
import math

import numpy as np
import pytest
from PIL import Image, ImageOps
from torchvision.transforms import v2

from leannet_runtime.images import decode_image
from leannet_runtime.preprocessing import Preprocessing

RNG = np.random.default_rng(7)
COLOUR = Image.fromarray(RNG.integers(0, 256, (40, 56, 3), dtype=np.uint8))
GREY = COLOUR.convert("L")
ALPHA = Image.fromarray(np.tile(np.linspace(0, 255, 56).round().astype(np.uint8), (40, 1)))
RGBA = COLOUR.copy()
RGBA.putalpha(ALPHA)
GREY_ALPHA = GREY.copy()
GREY_ALPHA.putalpha(ALPHA)
PALETTE = COLOUR.quantize(64)
DEEP = RNG.integers(0, 65536, (40, 56)).astype(np.uint16)
OTHER_FRAMES = [Image.new("RGB", COLOUR.size, colour) for colour in ("red", "blue")]


def file(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned(orientation, kind="JPEG"):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return file(COLOUR, kind, exif=exif)


def converted(encoded):
    return Image.open(io.BytesIO(encoded)).convert("RGB")


def upright(encoded):
    return ImageOps.exif_transpose(Image.open(io.BytesIO(encoded))).convert("RGB")


def on_white(encoded):
    colour = Image.open(io.BytesIO(encoded)).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", colour.size, (255, 255, 255, 255)), colour).convert("RGB")


def first_frame(encoded):
    image = Image.open(io.BytesIO(encoded))
    assert image.n_frames == 3
    image.seek(0)
    return image.convert("RGB")


def divided(encoded):
    del encoded  # what went into it is known
    return Image.fromarray(np.rint(DEEP / 257).astype(np.uint8)).convert("RGB")


CASES = {
    "very tall": (file(COLOUR.resize((9, 700))), converted),
    "very wide": (file(COLOUR.resize((700, 9)), "JPEG"), converted),
    "one pixel": (file(COLOUR.crop((3, 3, 4, 4))), converted),
    "smaller than the network's input": (file(COLOUR.resize((5, 7))), converted),
    "large photograph": (file(COLOUR.resize((1500, 1001)), "JPEG"), converted),
    "grey": (file(GREY), converted),
    "grey JPEG": (file(GREY, "JPEG"), converted),
    "grey and alpha": (file(GREY_ALPHA), on_white),
    "RGBA": (file(RGBA), on_white),
    "RGBA, a colour is transparent": (file(COLOUR, transparency=COLOUR.getpixel((5, 5))), on_white),
    "RGBA WebP": (file(RGBA, "WEBP", lossless=True), on_white),
    "palette": (file(PALETTE), converted),
    "palette, one colour transparent": (file(PALETTE, transparency=3), on_white),
    "palette, many colours half transparent": (file(PALETTE, transparency=bytes(range(0, 256, 4))), on_white),
    "16-bit grey PNG": (file(Image.fromarray(DEEP)), divided),
    "16-bit grey TIFF": (file(Image.fromarray(DEEP), "TIFF"), divided),
    "1-bit": (file(COLOUR.convert("1")), converted),
    "1-bit TIFF, packed as by a fax": (file(COLOUR.convert("1"), "TIFF", compression="group4"), converted),
    "CMYK JPEG": (file(COLOUR.convert("CMYK"), "JPEG"), converted),
    "YCbCr TIFF": (file(COLOUR.convert("YCbCr"), "TIFF"), converted),
    "progressive JPEG": (file(COLOUR, "JPEG", progressive=True, quality=60), converted),
    "JPEG without subsampling": (file(COLOUR, "JPEG", subsampling=0), converted),
    "animated GIF": (file(COLOUR, "GIF", save_all=True, append_images=OTHER_FRAMES), first_frame),
    "animated WebP": (file(COLOUR, "WEBP", save_all=True, append_images=OTHER_FRAMES), first_frame),
    "animated PNG": (file(COLOUR, save_all=True, append_images=OTHER_FRAMES), first_frame),
    "WebP": (file(COLOUR, "WEBP", quality=70), converted),
    "TIFF": (file(COLOUR, "TIFF", compression="tiff_lzw"), converted),
    "BMP": (file(COLOUR, "BMP"), converted),
    "PPM": (file(COLOUR, "PPM"), converted),
    **{f"JPEG of orientation {number}": (turned(number), upright) for number in range(1, 9)},
    "PNG of orientation 6": (turned(6, "PNG"), upright),
    "WebP of orientation 8": (turned(8, "WEBP"), upright),
}


@pytest.mark.parametrize("name", CASES)
def test_decoded_as_pillow_does(name):
    encoded, expected = CASES[name]
    np.testing.assert_array_equal(np.asarray(decode_image(encoded)), np.asarray(expected(encoded)))


@pytest.mark.parametrize("crop_pct", [0.875, 1.0])
@pytest.mark.parametrize("name", CASES)
def test_prepared_as_torchvision_does(name, crop_pct):
    encoded, expected = CASES[name]
    description = Preprocessing(24, crop_pct, "bilinear")
    theirs = v2.Compose([v2.Resize(math.floor(24 / crop_pct)), v2.CenterCrop(24)])(expected(encoded))
    difference = description.pixels(decode_image(encoded)).astype(int) - np.asarray(theirs)
    # Of a very long image the middle alone is resized, and what is rounded in between may then differ.
    assert np.abs(difference).max() <= ("very" in name)
