"""The one place where images are decoded: from any file or picture to 8-bit RGB, upright, on white."""

from __future__ import annotations

import contextlib
import functools
import io
import stat
import struct
import threading
import warnings
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from leannet_runtime.errors import UserError

__all__ = ["DECODER_VERSION", "MOST_PIXELS", "DamagedImage", "decode_image", "image_extensions"]

# Above this an image is refused, before any of it is decoded: 8192 x 8192 pixels take 256 MiB in pillow, and turning or
# converting them takes as much again. A few bytes of a file can claim any size.
MOST_PIXELS = 2**26

# Above this, images are decoded one at a time, in whatever number of threads: many would not fit into memory at once.
LARGE_PIXELS = 2**24
_LARGE = threading.RLock()

# How many pixels are converted at a time, so that what lies in between takes little memory.
STRIP_PIXELS = 2**20

# Above this a file is read as far as pillow asks: a film of gigabytes may be called a.jpg. Below, one call is quicker.
READ_AT_ONCE = 2**26  # bytes

# Pillow warns of images above 89 million pixels when it opens them. They are refused here, so there is nothing to add.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

# To be raised whenever `decode_image` comes to give other pixels or to accept other images: what was found out about
# images and kept on disk is then found out anew.
DECODER_VERSION = 2

ORIENTATION_TAG = 0x0112

# What undoes each value of the EXIF orientation tag; 1 is upright already.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

# Pillow recognises these but reads them not at all, or only with a program of somebody else.
NOT_DECODED = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}


class DamagedImage(UserError):  # noqa: N818 -- named after UserError, its base
    """An image file that cannot be decoded.

    Args:
        what: The file, named ("cannot read photos/cat/0012.jpg").
        why: The reason ("image file is truncated (16 bytes not processed)").
        remedy: What to do now.
    """

    def __init__(
        self, what: str, why: str, remedy: str = "Remove it, or pass --bad-images skip to go on without it"
    ) -> None:
        super().__init__(what, why, remedy)


def decode_image(
    source: str | Path | bytes | Image.Image,
    *,
    name: str | None = None,
    scope: contextlib.ExitStack | None = None,
) -> Image.Image:
    """Decode an image completely, always to the same form.

    The result has mode RGB and 8 bits. The EXIF orientation is applied; of an animation the first frame is taken;
    transparent pixels are laid over white; 16-bit and 32-bit integer grey is divided by 257 (65535 becomes 255);
    floating-point grey is rounded and clipped to 0..255, with "not a number" as 0; all other modes (grey, palette,
    CMYK, YCbCr, LAB) are converted by pillow.

    Images above 2**24 pixels are decoded by one thread at a time.

    Args:
        source: A path, the bytes of an image file, or a picture of pillow.
        name: What errors call the image; by default its path, or "image".
        scope: Closed when the picture is done with. Until then no other thread decodes a large image, if this is one.

    Returns:
        A new picture that holds no file open.

    Raises:
        DamagedImage: The file is missing, empty, no image, truncated or damaged, or has more than `MOST_PIXELS`.
    """
    if isinstance(source, (str, Path)):
        name = name or str(source)
    elif isinstance(source, Image.Image):
        name = name or str(getattr(source, "filename", "") or "image")
    what = f"cannot read {name or 'image'}"
    try:
        with contextlib.ExitStack() as here:
            stream = io.BytesIO() if isinstance(source, Image.Image) else _open(source, what, here)
            image = source if isinstance(source, Image.Image) else Image.open(stream, formats=_decoded_formats())
            if not image.width * image.height:
                raise DamagedImage(what, "it has no pixels")
            if image.width * image.height > MOST_PIXELS:
                why = f"it has {image.width:,} x {image.height:,} pixels, more than the limit of {MOST_PIXELS:,}"
                raise DamagedImage(what, why)
            if image.width * image.height > LARGE_PIXELS:
                (scope or here).enter_context(_LARGE)
            image.load()
            if image is not source and image.format == "PNG":
                _check_sums(stream)
            image = _upright(image)  # by its old name, so that the stored picture makes room
            picture = _to_rgb(image)
            picture.info.pop("exif", None)  # its orientation is applied, and must not be a second time
            return picture
    except DamagedImage:
        raise
    except UnidentifiedImageError:
        raise DamagedImage(what, "not an image") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DamagedImage(what, f"it has more pixels than the limit of {MOST_PIXELS:,}") from None
    except FileNotFoundError:
        raise DamagedImage(what, "no such file") from None
    except Exception as error:  # on a damaged file, pillow's decoders raise almost any type
        reason = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
        raise DamagedImage(what, reason) from error


def _open(source: str | Path | bytes, what: str, scope: contextlib.ExitStack) -> BinaryIO:
    """Open what is no picture yet; a file, until the scope ends."""
    if isinstance(source, bytes):
        if not source:
            raise DamagedImage(what, "the file is empty")
        return io.BytesIO(source)
    path = Path(source)
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        raise DamagedImage(what, "it is a folder" if path.is_dir() else "it is no ordinary file")
    if not status.st_size:
        raise DamagedImage(what, "the file is empty")
    if status.st_size <= READ_AT_ONCE:
        return io.BytesIO(path.read_bytes())
    return scope.enter_context(path.open("rb"))


def _check_sums(stream: BinaryIO) -> None:
    """Compare the checksums of the pixels of a PNG file, which pillow passes over.

    Raises:
        ValueError: A checksum is wrong or missing.
    """
    stream.seek(len(PNG_SIGNATURE))
    begun = False
    while len(head := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IDAT":
            begun = True
            if zlib.crc32(stream.read(length), zlib.crc32(kind)) != int.from_bytes(stream.read(4), "big"):
                raise ValueError("a checksum of its pixels is wrong")
        elif begun:  # the first frame ends here
            return
        else:
            stream.seek(length + 4, io.SEEK_CUR)


@functools.cache
def image_extensions() -> frozenset[str]:
    """Return the file name endings of images that can be decoded here, in lower case with the dot (".jpg")."""
    known = Image.registered_extensions()
    return frozenset(ending for ending, kind in known.items() if kind in Image.OPEN and kind not in NOT_DECODED)


@functools.cache
def _decoded_formats() -> tuple[str, ...]:
    """Return the names of the formats that are decoded: pillow would hand some to other programs of the machine."""
    Image.init()
    return tuple(kind for kind in Image.ID if kind not in NOT_DECODED)


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation.

    `PIL.ImageOps.exif_transpose` would also write the EXIF block anew, which fails on many real files.
    """
    try:
        orientation = image.getexif().get(ORIENTATION_TAG)
    except Exception:  # a damaged EXIF block spoils no pixel
        return image
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert a picture strip by strip."""
    height = max(STRIP_PIXELS // image.width, 1)
    if height >= image.height:
        return _strip_to_rgb(image)
    result = Image.new("RGB", image.size)
    for top in range(0, image.height, height):
        box = (0, top, image.width, min(top + height, image.height))
        result.paste(_strip_to_rgb(image.crop(box)), box)
    return result


def _strip_to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "I" or image.mode.startswith("I;16"):
        grey = (np.asarray(image).astype(np.int64) + 128) // 257  # rounds to nearest
        return Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        grey = np.rint(np.nan_to_num(np.asarray(image), nan=0.0, posinf=255.0, neginf=0.0))
        return Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        colour = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colour.size, "white"), colour).convert("RGB")
    return image.convert("RGB")
