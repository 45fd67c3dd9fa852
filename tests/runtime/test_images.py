"""Odd images, made here, against what their pixels must be."""

import contextlib
import io
import os
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile

from leannet_runtime import images
from leannet_runtime.images import DamagedImage, decode_image, image_extensions

PICTURE = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def encode(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(source):
    image = decode_image(source)
    assert image.mode == "RGB"
    assert type(image) is Image.Image
    return np.asarray(image)


def test_path_text_bytes_and_picture_give_the_same(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(PICTURE).save(path)
    for source in (path, str(path), path.read_bytes(), Image.open(path)):
        np.testing.assert_array_equal(decoded(source), PICTURE)


@pytest.mark.parametrize("size", [(1, 1), (3, 1000), (1000, 3)])
def test_extreme_sizes(size):
    image = Image.new("RGB", size, (10, 20, 30))
    assert (decoded(encode(image)) == (10, 20, 30)).all()
    assert decode_image(encode(image)).size == size


def test_grey_and_black_and_white():
    grey = PICTURE[..., 0]
    np.testing.assert_array_equal(decoded(encode(Image.fromarray(grey))), np.stack([grey] * 3, -1))
    bits = Image.fromarray(grey > 127)
    np.testing.assert_array_equal(decoded(encode(bits))[..., 1], (grey > 127) * 255)


def test_alpha_is_laid_over_white():
    rgba = np.dstack([PICTURE, np.arange(35, dtype=np.uint8).reshape(5, 7) * 7])
    alpha = rgba[..., 3:] / 255
    expected = PICTURE * alpha + 255 * (1 - alpha)
    assert np.abs(decoded(encode(Image.fromarray(rgba))) - expected).max() <= 1
    assert (decoded(Image.new("RGBA", (2, 2), (0, 0, 0, 0))) == 255).all()
    assert (decoded(encode(Image.new("LA", (2, 2), (100, 0)))) == 255).all()
    assert (decoded(encode(Image.new("LA", (2, 2), (100, 255)))) == 100).all()


def test_palette_with_transparency():
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putdata([0, 1])
    np.testing.assert_array_equal(decoded(encode(image)), [[[255, 0, 0], [0, 0, 255]]])
    np.testing.assert_array_equal(decoded(encode(image, transparency=0)), [[[255, 255, 255], [0, 0, 255]]])
    np.testing.assert_array_equal(decoded(encode(image, "GIF", transparency=1)), [[[255, 0, 0], [255, 255, 255]]])


@pytest.mark.parametrize(("kind", "dtype"), [("PNG", "<u2"), ("TIFF", "<u2"), ("TIFF", ">u2"), ("TIFF", "<i4")])
def test_deep_grey_is_scaled_to_eight_bits(kind, dtype):
    deep = np.array([[0, 257, 257 * 128, 65535, 128, 129]], dtype=dtype)
    image = Image.fromarray(deep)
    np.testing.assert_array_equal(decoded(encode(image, kind))[0, :, 0], [0, 1, 128, 255, 0, 1])
    np.testing.assert_array_equal(decoded(image)[0, :, 0], [0, 1, 128, 255, 0, 1])


def test_float_grey_is_rounded_and_clipped():
    values = np.array([[-5.0, 0.4, 0.6, 254.6, 300.0, np.nan, np.inf, -np.inf]], dtype=np.float32)
    np.testing.assert_array_equal(
        decoded(encode(Image.fromarray(values), "TIFF"))[0, :, 2], [0, 0, 1, 255, 255, 0, 255, 0]
    )


def test_other_colour_spaces():
    image = Image.new("RGB", (8, 8), (200, 100, 50))
    for mode, kind in (("CMYK", "JPEG"), ("CMYK", "TIFF"), ("YCbCr", "TIFF")):
        assert np.abs(decoded(encode(image.convert(mode), kind)).astype(int) - (200, 100, 50)).max() <= 4, (mode, kind)
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    lab = ImageCms.applyTransform(image, to_lab)
    assert np.abs(decoded(encode(lab, "TIFF")).astype(int) - (200, 100, 50)).max() <= 4


# How the stored rows and columns are to be read, from the EXIF standard: where row 0 and column 0 of the picture lie.
def upright(stored, orientation):
    height, width = stored.shape[:2]
    shape = (width, height, 3) if orientation >= 5 else (height, width, 3)
    result = np.zeros(shape, np.uint8)
    for row in range(height):
        for column in range(width):
            up, left = height - 1 - row, width - 1 - column
            place = {
                1: (row, column), 2: (row, left), 3: (up, left), 4: (up, column),
                5: (column, row), 6: (column, up), 7: (left, up), 8: (left, row),
            }[orientation]  # fmt: skip
            result[place] = stored[row, column]
    return result


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
def test_exif_orientation(orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    blocks = np.kron(PICTURE, np.ones((16, 16, 1), np.uint8))
    encoded = encode(
        Image.fromarray(blocks), kind, exif=exif, **({"quality": 100, "subsampling": 0} if kind == "JPEG" else {})
    )
    difference = decoded(encoded)[8::16, 8::16].astype(int) - upright(PICTURE, orientation)
    assert np.abs(difference).max() <= (4 if kind == "JPEG" else 0)


def test_damaged_exif_does_not_matter():
    encoded = encode(Image.fromarray(PICTURE), "JPEG", exif=b"Exif\0\0rubbish that is no TIFF header")
    assert decoded(encoded).shape == (5, 7, 3)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_first_frame_of_an_animation(kind):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue", "lime")]
    encoded = encode(frames[0], kind, save_all=True, append_images=frames[1:])
    assert np.abs(decoded(encoded).astype(int) - (255, 0, 0)).max() <= 4


def test_progressive_jpeg_and_webp():
    smooth = np.tile(np.linspace(0, 255, 32).astype(np.uint8)[None, :, None], (32, 1, 3))
    for options in ({"kind": "JPEG", "progressive": True, "quality": 95}, {"kind": "WEBP", "quality": 95}):
        assert np.abs(decoded(encode(Image.fromarray(smooth), **options)).astype(int) - smooth).max() <= 12
    np.testing.assert_array_equal(decoded(encode(Image.fromarray(PICTURE), "WEBP", lossless=True)), PICTURE)


REMEDY = "Remove it, or pass --bad-images skip to go on without it."


def message(source, **names):
    with pytest.raises(DamagedImage) as caught:
        decode_image(source, **names)
    return str(caught.value)


def test_damaged_files_are_named_with_the_reason(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"")
    assert message(path) == f"cannot read {path}: the file is empty. {REMEDY}"
    path.write_bytes(b"this is a text")
    assert message(path) == f"cannot read {path}: not an image. {REMEDY}"
    path.unlink()
    assert message(path) == f"cannot read {path}: no such file. {REMEDY}"
    assert message(b"", name="train row 3") == f"cannot read train row 3: the file is empty. {REMEDY}"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_files_raise_damaged_image_only(kind, share):
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    encoded = encode(Image.fromarray(noise), kind)
    assert message(encoded[: int(len(encoded) * share)], name="a").startswith("cannot read a: ")
    if kind == "JPEG" and share == 0.5:
        assert "truncated" in message(encoded[: len(encoded) // 2])


def claiming(width, height):
    """A small PNG and a small JPEG file whose headers claim this size."""
    png = bytearray(encode(Image.fromarray(PICTURE)))
    png[16:24] = struct.pack(">II", width, height)
    png[29:33] = struct.pack(">I", zlib.crc32(png[12:29]))
    jpeg = bytearray(encode(Image.fromarray(PICTURE), "JPEG"))
    place = jpeg.index(b"\xff\xc0") + 5
    jpeg[place : place + 4] = struct.pack(">HH", min(height, 65535), min(width, 65535))
    return bytes(png), bytes(jpeg)


def test_wrong_checksums_of_a_png_are_noticed():
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    encoded = encode(Image.fromarray(noise))
    begin = encoded.index(b"IDAT") + 4
    end = begin + int.from_bytes(encoded[begin - 8 : begin - 4], "big")
    assert zlib.crc32(encoded[begin - 4 : end]) == int.from_bytes(encoded[end : end + 4], "big")
    for place in (begin + 1000, end + 3):
        broken = bytearray(encoded)
        broken[place] ^= 1
        assert message(bytes(broken), name="a").startswith("cannot read a: ")
    assert "a checksum of its pixels is wrong" in message(bytes(broken))
    assert "a checksum of its pixels is wrong" in message(encoded[: end + 2])
    np.testing.assert_array_equal(decoded(encoded[: end + 4]), noise)  # nothing of the pixels is missing


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # pytest lifts the filter of images.py
@pytest.mark.parametrize("size", [(8193, 8192), (10_000, 10_000), (20_000, 20_000), (60_000, 60_000)])
def test_too_many_pixels_are_refused_before_decoding(size, monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("decoded"))
    for encoded in claiming(*size):
        said = message(encoded, name="a")
        assert said.startswith("cannot read a: it has ")
        assert "more" in said
        assert "than the limit of 67,108,864" in said
    assert "it has 8,193 x 8,192 pixels, more than the limit" in message(claiming(8193, 8192)[0])


def test_pillow_warns_nobody_of_large_images(tmp_path):
    (tmp_path / "a.png").write_bytes(claiming(10_000, 10_000)[0])
    script = "import sys; from leannet_runtime.images import decode_image; decode_image(sys.argv[1])"
    run = subprocess.run([sys.executable, "-c", script, str(tmp_path / "a.png")], capture_output=True, text=True)
    assert "DamagedImage" in run.stderr
    assert "Warning" not in run.stderr


def test_large_images_are_decoded_one_at_a_time(monkeypatch):
    monkeypatch.setattr(images, "LARGE_PIXELS", 34)
    large, small = encode(Image.fromarray(PICTURE)), encode(Image.fromarray(PICTURE[:2]))
    busy, most = [], []

    def decode(_):
        with contextlib.ExitStack() as scope:
            decode_image(large, scope=scope)
            busy.append(1)
            decode_image(small)
            most.append(len(busy))
            busy.pop()
        decode_image(large)  # without a scope too

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(decode, range(40)))
    assert most == [1] * 40
    with contextlib.ExitStack() as scope, ThreadPoolExecutor(1) as pool:
        decode_image(large, scope=scope)
        assert pool.submit(decode_image, small).result(timeout=60).size == (7, 2)
        waiting = pool.submit(decode_image, large)
        assert not waiting.done()
        scope.close()
        assert waiting.result(timeout=60).size == (7, 5)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "I;16", "F", "1", "CMYK"])
def test_conversion_in_strips_changes_nothing(mode, monkeypatch):
    image = Image.fromarray(np.dstack([PICTURE, PICTURE[..., :1]]))
    image = Image.fromarray(PICTURE[..., 0].astype("<u2") * 257) if mode == "I;16" else image.convert(mode)
    if mode == "P":
        image.info["transparency"] = image.getpixel((0, 0))
    whole = decoded(image)
    for pixels in (1, 14, 20, 35):
        monkeypatch.setattr(images, "STRIP_PIXELS", pixels)
        np.testing.assert_array_equal(decoded(image), whole)


def test_what_is_no_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")  # opening it would wait for ever
    assert "it is no ordinary file" in message(tmp_path / "pipe.jpg")
    assert "it is a folder" in message(tmp_path)
    (tmp_path / "link.jpg").symlink_to(tmp_path / "nowhere")
    assert "no such file" in message(tmp_path / "link.jpg")


def test_a_huge_file_that_is_no_image_is_not_read_whole(tmp_path):
    path = tmp_path / "film.jpg"
    with path.open("wb") as file:
        file.truncate(2**40)  # a hole: it takes no room
    assert "not an image" in message(path)


def test_extensions_are_those_of_images():
    assert {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"} <= image_extensions()
    assert not {".txt", ".db", ".mpg", ".pdf", ".h5", ".csv", ""} & image_extensions()
