"""Random changes of training images, for a whole batch at once, from random numbers that belong to each image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import v2

from leannet.data.policies import apply_policy, make_policy
from leannet_runtime.preprocessing import IMAGENET_MEAN, IMAGENET_STD

__all__ = ["DRAWS", "Augmentation", "normalise"]

# What one image draws: uniform numbers in [0, 1), in this order.
DRAWS = ("flip", "top", "left", "area", "aspect", "erase", "erase_area", "erase_aspect", "erase_top", "erase_left")

# How many images are cropped and resized at a time.
CHUNK = 32

# Share of the image and ratio of the sides of what is erased: the defaults of timm's RandomErasing.
ERASE_AREA = (0.02, 1 / 3)
ERASE_RATIO = (0.3, 1 / 0.3)


@dataclass(frozen=True)
class Augmentation:
    """Crop, flip, normalise and perhaps erase; names as in timm.

    Args:
        img_size: Side of the square that the network sees, in pixels.
        mean: Mean of red, green, blue on the scale 0..1.
        std: Standard deviation of red, green, blue on the scale 0..1.
        hflip: Probability of a flip from left to right.
        padding: Black pixels added on each side before an ``img_size`` square is cut out at random; the papers on
            CIFAR use 4. Only without `scale`.
        scale: Smallest and largest share of the stored area that a random resized crop covers, for photographs;
            None cuts out without resizing.
        ratio: Smallest and largest ratio of width to height of that crop.
        reprob: Probability that a random rectangle is erased, that is, set to the mean.
        aa: A policy of augmentation, applied after crop and flip and before the rest: "rand-m9-n2" (timm's spelling),
            "trivial", "auto" or "augmix", see `make_policy`; None for none.

    Raises:
        UserError: `aa` is not known.
    """

    img_size: int
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    hflip: float = 0.5
    padding: int = 0
    scale: tuple[float, float] | None = None
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    reprob: float = 0.0
    aa: str | None = None

    def __post_init__(self) -> None:
        if self.aa is not None:
            make_policy(self.aa)

    @cached_property
    def policy(self) -> v2.Transform | None:
        """The transform that `aa` stands for."""
        return None if self.aa is None else make_policy(self.aa)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw the random numbers of `count` images; shape ``(count, len(DRAWS))``, and one more column for `aa`."""
        draws = torch.rand(count, len(DRAWS), generator=generator)
        # Drawn after the others, so that these are the same with and without a policy.
        return draws if self.aa is None else torch.cat((draws, torch.rand(count, 1, generator=generator)), dim=1)

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Change a batch.

        Args:
            images: uint8 of shape ``(B, 3, S, S)``; fastest in the channels-last memory format.
            draws: The random numbers of these images, from `draw`.

        Returns:
            float32 of shape ``(B, 3, img_size, img_size)``, normalised, in the channels-last memory format.

        Raises:
            ValueError: The images with their padding are smaller than `img_size`.
        """
        drawn = dict(zip(DRAWS, draws.to(images.device).unbind(1), strict=self.aa is None))
        cut = resized_crops(images, self, drawn) if self.scale else shifted_crop(images, self, drawn)
        if self.policy is not None:
            whole = cut.round().clamp(0, 255).to(torch.uint8) if cut.is_floating_point() else cut
            cut = apply_policy(self.policy, whole, draws[:, -1])
        result = normalise(cut, self.mean, self.std)
        if self.reprob:
            erase_(result, self.reprob, drawn)
        return result


def normalise(images: Tensor, mean: tuple[float, float, float], std: tuple[float, float, float]) -> Tensor:
    """Turn values 0..255 into ``(images / 255 - mean) / std``, as `Preprocessing.normalise` does.

    Args:
        images: uint8 of shape ``(B, 3, H, W)``, or float32, which may be overwritten.
        mean: Mean of red, green, blue on the scale 0..1.
        std: Standard deviation of red, green, blue on the scale 0..1.

    Returns:
        float32 of the same shape, in the channels-last memory format.
    """
    batch, _, height, width = images.shape
    means, stds = (images.new_tensor(value, dtype=torch.float64).repeat(width) for value in (mean, std))
    # Whole lines of pixels are multiplied by whole lines of numbers: three channels alone would leave the processor's
    # vectors mostly empty.
    lines = images.permute(0, 2, 3, 1).reshape(batch * height, width * 3).float()
    torch.addcmul((-means / stds).float(), lines, (1 / (255 * stds)).float(), out=lines)
    return lines.view(batch, height, width, 3).permute(0, 3, 1, 2)


def shifted_crop(images: Tensor, augmentation: Augmentation, drawn: dict[str, Tensor]) -> Tensor:
    """Cut a square of `img_size` out of each padded image, at a random place, and flip some."""
    side, padding = augmentation.img_size, augmentation.padding
    padded = F.pad(images.permute(0, 2, 3, 1), (0, 0, padding, padding, padding, padding))
    batch, height, width, channels = padded.shape
    places = torch.tensor((height - side + 1, width - side + 1), device=images.device)
    if places.min() < 1:
        raise ValueError(f"images of {height} x {width} pixels with their padding are smaller than {side}")
    top, left = (torch.stack((drawn["top"], drawn["left"]), dim=1) * places).long().unbind(1)
    # Each line of a square is a run of bytes in memory, so cutting out means selecting runs by where they begin.
    numbers, lines = (torch.arange(count, device=images.device) for count in (batch, side))
    first_pixels = (numbers * height + top)[:, None] * width + left[:, None] + lines * width
    runs = padded.flatten().unfold(0, side * channels, 1)
    squares = runs.index_select(0, first_pixels.flatten() * channels).view(batch, side, side, channels)
    squares = torch.where(_flipped(augmentation, drawn)[:, :, None, None], squares.flip(2), squares)
    return squares.permute(0, 3, 1, 2)


def resized_crops(images: Tensor, augmentation: Augmentation, drawn: dict[str, Tensor]) -> Tensor:
    """Apply `resized_crop` to some images at a time: whole batches of floats would not fit into a processor's cache."""
    parts = [slice(begin, begin + CHUNK) for begin in range(0, len(images), CHUNK)]
    return torch.cat(
        [resized_crop(images[part], augmentation, {name: draw[part] for name, draw in drawn.items()}) for part in parts]
    )


def resized_crop(images: Tensor, augmentation: Augmentation, drawn: dict[str, Tensor]) -> Tensor:
    """Cut a rectangle of random area and ratio out of each image, scale it to `img_size` (bilinear), and flip some.

    As torchvision's RandomResizedCrop, but a side that would be longer than the image is shortened to it instead of
    being drawn again, and the corner lies between pixels too.
    """
    side, stored = augmentation.img_size, images.shape[-1]
    low, high = augmentation.scale or (1.0, 1.0)
    area = (low + (high - low) * drawn["area"]) * stored**2
    aspect = log_uniform(augmentation.ratio, drawn["aspect"])
    width, height = (area * aspect).sqrt().clamp(max=stored), (area / aspect).sqrt().clamp(max=stored)
    left, top = (stored - width) * drawn["left"], (stored - height) * drawn["top"]
    centres = (torch.arange(side, device=images.device) + 0.5) / side
    across = torch.where(_flipped(augmentation, drawn), centres.flip(0), centres)
    # grid_sample counts from -1 to 1 over the whole image, borders included.
    x = (left[:, None] + across * width[:, None]) * (2 / stored) - 1
    y = (top[:, None] + centres * height[:, None]) * (2 / stored) - 1
    grid = torch.stack((x[:, None, :].expand(-1, side, -1), y[:, :, None].expand(-1, -1, side)), dim=-1)
    return F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)


def erase_(images: Tensor, probability: float, drawn: dict[str, Tensor]) -> None:
    """Set a random rectangle of some images to 0, which is the mean after normalising, in place."""
    side = images.shape[-1]
    low, high = ERASE_AREA
    area = (low + (high - low) * drawn["erase_area"]) * side**2
    aspect = log_uniform(ERASE_RATIO, drawn["erase_aspect"])
    height, width = ((value.sqrt().round().clamp(max=side)) for value in (area / aspect, area * aspect))
    top, left = ((side - height + 1) * drawn["erase_top"]).floor(), ((side - width + 1) * drawn["erase_left"]).floor()
    along = torch.arange(side, device=images.device)
    rows = (along >= top[:, None]) & (along < (top + height)[:, None])
    columns = (along >= left[:, None]) & (along < (left + width)[:, None])
    rows &= (drawn["erase"] < probability)[:, None]
    images.masked_fill_(rows[:, None, :, None] & columns[:, None, None, :], 0.0)


def log_uniform(limits: tuple[float, float], draw: Tensor) -> Tensor:
    """Turn uniform numbers into ratios between two limits, as likely above 1 as below where the limits are inverse."""
    low, high = math.log(limits[0]), math.log(limits[1])
    return torch.exp(low + (high - low) * draw)


def _flipped(augmentation: Augmentation, drawn: dict[str, Tensor]) -> Tensor:
    """Say which images are flipped; shape ``(B, 1)``."""
    return (drawn["flip"] < augmentation.hflip)[:, None]
