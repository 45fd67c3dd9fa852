"""What is decoded once is not turned twice, and no other program decodes."""

import io

import numpy as np
import pytest
from PIL import Image

from leannet_runtime.images import DamagedImage, decode_image

PICTURE = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_a_decoded_picture_can_be_decoded_again(kind):
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.fromarray(PICTURE).save(file, kind, exif=exif)
    once = decode_image(file.getvalue())
    assert once.size == PICTURE.shape[:2]
    assert np.array_equal(np.array(decode_image(once)), np.array(once))


def test_no_other_program_is_asked_to_decode():
    """Pillow hands EPS to Ghostscript, which has run code of files before."""
    file = io.BytesIO()
    Image.fromarray(PICTURE).save(file, "EPS")
    with pytest.raises(DamagedImage, match="not an image"):
        decode_image(file.getvalue(), name="x.jpg")
