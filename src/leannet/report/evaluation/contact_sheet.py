"""The most confidently wrong images on one page: often the labels are what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from leannet.data import Split
from leannet.measure import Predictions

__all__ = ["SHEET_IMAGES", "draw_wrong_images"]

SHEET_IMAGES = 25
COLUMNS = 5

# Pixels.
PICTURE = 192
MARGIN = 12
LINE = 17
CAPTION = 3 * LINE + 4


def draw_wrong_images(
    split: Split, predictions: Predictions, positions: NDArray[np.int64], class_names: Sequence[str]
) -> Image.Image:
    """Draw images with their true class, the answer and its probability.

    Args:
        split: The images.
        predictions: The answers to them.
        positions: Which images, in the order of the page.
        class_names: By label.

    Returns:
        An RGB picture; without images it says that there are none.
    """
    columns, rows = min(COLUMNS, max(len(positions), 1)), max(1, -(-len(positions) // COLUMNS))
    width, height = PICTURE + MARGIN, PICTURE + CAPTION + MARGIN
    sheet = Image.new("RGB", (MARGIN + max(columns, 2) * width, MARGIN + rows * height), "white")
    draw = ImageDraw.Draw(sheet)
    if not len(positions):
        draw.text((MARGIN, MARGIN), "No image was answered wrongly.", "black", _font(14))
    for number, position in enumerate(positions):
        left, top = MARGIN + number % COLUMNS * width, MARGIN + number // COLUMNS * height
        picture = _fit(split.read(int(position)))
        sheet.paste(picture, (left + (PICTURE - picture.width) // 2, top + (PICTURE - picture.height) // 2))
        true, answer = (class_names[labels[position]] for labels in (predictions.labels, predictions.predicted))
        # The end of the answer must stay: it is the probability.
        chance = f" ({100 * predictions.probability[position]:.1f} %)"
        lines = (
            (_cut(f"true: {true}", _font(13)), "black", _font(13)),
            (_cut(f"→ {answer}", _font(13), chance), "firebrick", _font(13)),
            (_cut(predictions.identifiers[position], _font(10), from_left=True), "dimgray", _font(10)),
        )
        for line, (text, colour, font) in enumerate(lines):
            draw.text((left, top + PICTURE + 4 + line * LINE), text, colour, font)
    return sheet


def _fit(image: Image.Image) -> Image.Image:
    """Scale an image into its place; small ones by whole factors, so that every pixel is seen."""
    factor = PICTURE // max(image.size)
    if factor >= 1:
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    fitted = image.copy()
    fitted.thumbnail((PICTURE, PICTURE), Image.Resampling.LANCZOS)
    return fitted


def _font(size: int) -> ImageFont.FreeTypeFont:
    """Return a font that has more than English letters, unlike the one that comes with pillow."""
    import matplotlib as mpl

    return ImageFont.truetype(str(Path(mpl.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), size)


def _cut(text: str, font: ImageFont.FreeTypeFont, ending: str = "", *, from_left: bool = False) -> str:
    """Shorten a text until it is as wide as a picture together with its ending; of a path the end tells more."""
    whole = text + ending
    while len(text) > 1 and font.getlength(whole) > PICTURE:
        text = text[1:] if from_left else text[:-1]
        whole = f"…{text}{ending}" if from_left else f"{text}…{ending}"
    return whole
