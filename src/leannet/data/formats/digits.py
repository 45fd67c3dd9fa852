"""The handwritten digits that come with scikit-learn: real data without a download."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from leannet.data.split import NamedImages

__all__ = ["ArrayImages", "find_digits"]


class ArrayImages:
    """Images that lie in memory as pixels.

    Args:
        pixels: Grey values 0..255 of shape ``(N, H, W)``.
        name: What one image is called ("digit").
    """

    def __init__(self, pixels: NDArray[np.uint8], name: str) -> None:
        self.pixels = pixels
        self.name = name

    def __len__(self) -> int:
        return len(self.pixels)

    def encoded(self, index: int) -> Image.Image:
        """Return the image as a grey picture."""
        return Image.fromarray(self.pixels[index])

    def identifier(self, index: int) -> str:
        """Return name and number ("digit 17")."""
        return f"{self.name} {index}"

    def sizes(self) -> NDArray[np.int64]:
        """Return the bytes of each image."""
        return np.full(len(self), self.pixels[0].size, np.int64)

    def place(self, index: int) -> None:
        """Return None: the images lie in no file."""


def find_digits() -> dict[str, NamedImages]:
    """Return the 1,797 digits of 8 x 8 pixels, their grey values 0..16 scaled to 0..255."""
    from sklearn.datasets import load_digits  # takes a second, which other sources need not pay

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return {"train": NamedImages(ArrayImages(pixels, "digit"), digits.target.astype(str))}
