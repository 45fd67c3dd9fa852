"""The one place where images are decoded: from any file or picture to 8-bit RGB, upright, on white."""

from __future__ import annotations

import functools
import io
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from leannet_runtime.errors import UserError

__all__ = ["DECODER_VERSION", "DamagedImage", "decode_image", "image_extensions"]

# To be raised whenever `decode_image` comes to give other pixels or to accept other images: what was found out about
# images and kept on disk is then found out anew.
DECODER_VERSION = 1

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


def decode_image(source: str | Path | bytes | Image.Image, *, name: str | None = None) -> Image.Image:
    """Decode an image completely, always to the same form.

    The result has mode RGB and 8 bits. The EXIF orientation is applied; of an animation the first frame is taken;
    transparent pixels are laid over white; 16-bit and 32-bit integer grey is divided by 257 (65535 becomes 255);
    floating-point grey is rounded and clipped to 0..255, with "not a number" as 0; all other modes (grey, palette,
    CMYK, YCbCr, LAB) are converted by pillow.

    Args:
        source: A path, the bytes of an image file, or a picture of pillow.
        name: What errors call the image; by default its path, or "image".

    Returns:
        A new picture that holds no file open.

    Raises:
        DamagedImage: The file is missing, empty, not an image, truncated or damaged, or larger than pillow's limit.
    """
    if isinstance(source, (str, Path)):
        name = name or str(source)
    elif isinstance(source, Image.Image):
        name = name or str(getattr(source, "filename", "") or "image")
    what = f"cannot read {name or 'image'}"
    try:
        if isinstance(source, (str, Path)):
            source = Path(source).read_bytes()  # at once, so that no handle stays open behind a lazy picture
        if source == b"":
            raise DamagedImage(what, "the file is empty")
        image = Image.open(io.BytesIO(source)) if isinstance(source, bytes) else source
        image.load()
        return _to_rgb(_upright(image))
    except DamagedImage:
        raise
    except UnidentifiedImageError:
        raise DamagedImage(what, "not an image") from None
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise DamagedImage(what, f"it has more pixels than pillow's limit of {limit:,}") from None
    except FileNotFoundError:
        raise DamagedImage(what, "no such file") from None
    except Exception as error:  # on a damaged file, pillow's decoders raise almost any type
        reason = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
        raise DamagedImage(what, reason) from error


@functools.cache
def image_extensions() -> frozenset[str]:
    """Return the file name endings of images that can be decoded here, in lower case with the dot (".jpg")."""
    known = Image.registered_extensions()
    return frozenset(ending for ending, kind in known.items() if kind in Image.OPEN and kind not in NOT_DECODED)


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
