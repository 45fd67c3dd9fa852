"""The one description of how a picture becomes the input of a network: resize, crop, normalise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from leannet_runtime.errors import UserError

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "Preprocessing"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}

# Beyond this ratio of the sides, resizing the whole picture could take gigabytes for a strip that is cut away again.
LONGEST = 16

# Beyond this the shorter side of a resized image is no size of a classifier, and would fill the memory.
LONGEST_SIDE = 8192  # pixels


@dataclass(frozen=True)
class Preprocessing:
    """Resize the shorter side, cut out the middle, normalise: timm's evaluation transform, on numpy and pillow.

    Args:
        img_size: Side of the square that the network sees, in pixels.
        crop_pct: Share of the resized shorter side that the square covers. Use 1.0 for small images (32 pixels and
            the like), whose border should not be cut away.
        interpolation: "nearest", "bilinear", "bicubic" or "lanczos"; antialiased, as pillow does it.
        mean: Mean of red, green, blue on the scale 0..1; ImageNet's by default.
        std: Standard deviation of red, green, blue on the scale 0..1; ImageNet's by default.
        crop_mode: Where the square is cut out; "center" is the only one.

    Raises:
        UserError: A value is out of its range or not known.
    """

    img_size: int
    crop_pct: float = 0.875
    interpolation: str = "bicubic"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    crop_mode: str = "center"

    def __post_init__(self) -> None:
        if self.img_size < 1:
            raise UserError(f"img_size {self.img_size}", "an image has at least one pixel", "Pass 32 or 224, say")
        if not 0 < self.crop_pct <= 1:
            raise UserError(f"crop_pct {self.crop_pct}", "it is a share above 0 and up to 1", "Pass 0.875 or 1.0, say")
        shorter = self.img_size / self.crop_pct
        if shorter >= LONGEST_SIDE + 1:
            why = f"it resizes images to {shorter:,.0f} pixels, more than the limit of {LONGEST_SIDE:,}"
            raise UserError(f"img_size {self.img_size}, crop_pct {self.crop_pct}", why, "Pass 224 and 0.875, say")
        if self.interpolation not in FILTERS:
            known = ", ".join(FILTERS)
            raise UserError(f"interpolation {self.interpolation!r}", "not known", f"Choose one of {known}")
        if self.crop_mode != "center":
            raise UserError(f"crop_mode {self.crop_mode!r}", "not supported", "Use 'center'")
        finite = all(map(math.isfinite, (*self.mean, *self.std)))
        if len(self.mean) != 3 or len(self.std) != 3 or not finite or min(self.std) <= 0:
            raise UserError(
                f"mean {self.mean}, std {self.std}",
                "each needs three numbers, and std above 0",
                "Give red, green and blue on the scale 0..1",
            )

    @classmethod
    def from_pretrained_cfg(cls, cfg: Mapping[str, Any]) -> Preprocessing:
        """Read timm's `pretrained_cfg`; what it leaves out has the defaults of this class.

        Raises:
            UserError: The input is not a square of three channels, or a value is not supported.
        """
        channels, height, width = cfg["input_size"]
        if channels != 3 or height != width:
            raise UserError(f"input_size {list(cfg['input_size'])}", "not a square of 3 channels", "Use [3, S, S]")
        given = {key: cfg[key] for key in ("crop_pct", "interpolation", "crop_mode") if cfg.get(key) is not None}
        given |= {key: tuple(map(float, cfg[key])) for key in ("mean", "std") if cfg.get(key) is not None}
        return cls(img_size=int(height), **given)

    def to_pretrained_cfg(self) -> dict[str, Any]:
        """Return the description in the keys of timm's `pretrained_cfg`, ready for JSON."""
        return {
            "input_size": [3, self.img_size, self.img_size],
            "crop_pct": self.crop_pct,
            "interpolation": self.interpolation,
            "mean": list(self.mean),
            "std": list(self.std),
            "crop_mode": self.crop_mode,
        }

    def resize(self, image: Image.Image) -> Image.Image:
        """Scale the picture so that its shorter side is ``floor(img_size / crop_pct)``; the aspect is kept."""
        size = self._resized(image)
        return image if size == image.size else image.resize(size, FILTERS[self.interpolation])

    def pixels(self, image: Image.Image) -> NDArray[np.uint8]:
        """Resize the picture and cut out the middle.

        The result equals torchvision's ``Resize`` and ``CenterCrop`` on pillow pictures, bit by bit. Only where one
        side is more than 16 times the other may values differ slightly: there the middle alone is resized, and pillow
        may then take rows and columns in the other order, rounding in between.

        Args:
            image: An RGB picture, as `decode_image` returns it.

        Returns:
            Pixels of shape ``(img_size, img_size, 3)``, 0..255.

        Raises:
            ValueError: The picture is not RGB.
        """
        if image.mode != "RGB":
            raise ValueError(f"expected a picture of mode RGB, got {image.mode}: use decode_image")
        width, height = self._resized(image)
        # Python rounds halves to even, and so does torchvision's CenterCrop.
        left, top = round((width - self.img_size) / 2), round((height - self.img_size) / 2)
        right, bottom = left + self.img_size, top + self.img_size
        if max(image.size) > LONGEST * min(image.size):
            across, down = image.width / width, image.height / height
            middle = (left * across, top * down, min(right * across, image.width), min(bottom * down, image.height))
            square = image.resize((self.img_size, self.img_size), FILTERS[self.interpolation], box=middle)
        else:
            square = self.resize(image).crop((left, top, right, bottom))
        return np.array(square)

    __call__ = pixels

    def normalise(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Turn pixels 0..255 into ``(pixels / 255 - mean) / std``.

        Shape: ``(..., H, W, 3)`` -> ``(..., 3, H, W)``: a batch NHWC becomes NCHW.
        """
        scale = 1 / (255 * np.array(self.std))
        shift = -np.array(self.mean) / np.array(self.std)
        normal = pixels.astype(np.float32) * scale.astype(np.float32) + shift.astype(np.float32)
        return np.ascontiguousarray(np.moveaxis(normal, -1, -3))

    def _resized(self, image: Image.Image) -> tuple[int, int]:
        """Return width and height after `resize`."""
        short = math.floor(self.img_size / self.crop_pct)
        width, height = image.size
        # Truncated, not rounded: torchvision does so, and timm with it.
        return (short, int(short * height / width)) if width <= height else (int(short * width / height), short)
