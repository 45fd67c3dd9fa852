"""Augmentation of a whole batch against a loop over images, from the same random numbers."""

import math

import pytest
import torch
import torch.nn.functional as F
import torchvision.transforms.v2.functional as reference

from leannet.data.augment import DRAWS, Augmentation, normalise

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def batch(count, side):
    images = torch.randint(
        0, 256, (count, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    return images.contiguous(memory_format=torch.channels_last)


def draw(augmentation, count):
    return augmentation.draw(count, torch.Generator().manual_seed(1))


def naive_shift(image, augmentation, drawn):
    padded = F.pad(image, (augmentation.padding,) * 4)
    places = padded.shape[1] - augmentation.img_size + 1
    top, left = math.floor(drawn["top"] * places), math.floor(drawn["left"] * places)
    cut = reference.crop(padded, top, left, augmentation.img_size, augmentation.img_size)
    return reference.horizontal_flip(cut) if drawn["flip"] < augmentation.hflip else cut


def naive_normal(image):
    return reference.normalize(reference.to_dtype(image, torch.float32, scale=True), MEAN, STD)


@pytest.mark.parametrize(("stored", "side", "padding"), [(8, 8, 2), (8, 8, 0), (10, 7, 0), (9, 8, 3)])
@pytest.mark.parametrize("contiguous", [True, False])
def test_shift_and_flip(stored, side, padding, contiguous):
    augmentation = Augmentation(side, MEAN, STD, padding=padding)
    images, draws = batch(64, stored), draw(augmentation, 64)
    result = augmentation(images.contiguous() if contiguous else images, draws)
    for image, row, ours in zip(images, draws.tolist(), result, strict=True):
        expected = naive_normal(naive_shift(image, augmentation, dict(zip(DRAWS, row, strict=True))))
        torch.testing.assert_close(ours, expected, atol=2e-6, rtol=0)
    assert result.shape == (64, 3, side, side)
    assert result.dtype == torch.float32
    assert result.is_contiguous(memory_format=torch.channels_last)


def naive_resized_crop(image, augmentation, drawn):
    """Bilinear values at the centres of the cells of the crop, one pixel after another."""
    stored, side = image.shape[1], augmentation.img_size
    (low, high), (thin, wide) = augmentation.scale, augmentation.ratio
    area = (low + (high - low) * drawn["area"]) * stored**2
    aspect = thin * (wide / thin) ** drawn["aspect"]
    width, height = min(math.sqrt(area * aspect), stored), min(math.sqrt(area / aspect), stored)
    left, top = (stored - width) * drawn["left"], (stored - height) * drawn["top"]
    result = torch.zeros(3, side, side)
    for row in range(side):
        for column in range(side):
            y = top + (row + 0.5) * height / side - 0.5
            x = left + (column + 0.5) * width / side - 0.5
            for near_y in (math.floor(y), math.floor(y) + 1):
                for near_x in (math.floor(x), math.floor(x) + 1):
                    weight = (1 - abs(y - near_y)) * (1 - abs(x - near_x))
                    inside = image[:, min(max(near_y, 0), stored - 1), min(max(near_x, 0), stored - 1)]
                    result[:, row, column] += weight * inside
    return result.flip(2) if drawn["flip"] < augmentation.hflip else result


@pytest.mark.parametrize("scale", [(0.1, 1.0), (1.0, 1.0)])
def test_random_resized_crop(scale):
    augmentation = Augmentation(6, (0.0, 0.0, 0.0), (1 / 255,) * 3, scale=scale)
    images, draws = batch(40, 7), draw(augmentation, 40)
    result = augmentation(images, draws)
    for image, row, ours in zip(images, draws.tolist(), result, strict=True):
        expected = naive_resized_crop(image, augmentation, dict(zip(DRAWS, row, strict=True)))
        torch.testing.assert_close(ours, expected, atol=2e-2, rtol=0)  # of 255
    assert result.is_contiguous(memory_format=torch.channels_last)


def test_erasing():
    augmentation = Augmentation(16, MEAN, STD, hflip=0.0, reprob=0.5)
    images, draws = batch(400, 16), draw(augmentation, 400)
    plain = Augmentation(16, MEAN, STD, hflip=0.0)(images, draws)
    result = augmentation(images, draws)
    erased = (result != plain).any(dim=1)
    drawn = dict(zip(DRAWS, draws.unbind(1), strict=True))
    for mask, before, after, row in zip(erased, plain, result, draws.tolist(), strict=True):
        expected = torch.zeros(16, 16, dtype=torch.bool)
        numbers = dict(zip(DRAWS, row, strict=True))
        if numbers["erase"] < 0.5:
            area = (0.02 + (1 / 3 - 0.02) * numbers["erase_area"]) * 256
            aspect = 0.3 * (1 / 0.09) ** numbers["erase_aspect"]
            height, width = min(round(math.sqrt(area / aspect)), 16), min(round(math.sqrt(area * aspect)), 16)
            top, left = int((17 - height) * numbers["erase_top"]), int((17 - width) * numbers["erase_left"])
            expected[top : top + height, left : left + width] = True
        assert torch.equal(mask, expected)
        assert torch.equal(after, before.masked_fill(expected, 0.0))
    assert 0.4 < (drawn["erase"] < 0.5).float().mean() < 0.6


def test_probabilities_of_flips():
    images = torch.arange(4, dtype=torch.uint8).expand(1000, 3, 4, 4)
    for probability, low, high in ((0.0, 0, 0), (1.0, 1000, 1000), (0.5, 430, 570)):
        augmentation = Augmentation(4, MEAN, STD, hflip=probability)
        result = augmentation(images, draw(augmentation, 1000))
        assert low <= (result[:, 0, 0, 0] > result[:, 0, 0, 3]).sum() <= high


def test_normalise_is_torchvisions():
    images = batch(4, 5)
    torch.testing.assert_close(normalise(images, MEAN, STD), naive_normal(images), atol=2e-6, rtol=0)


def test_images_smaller_than_the_crop():
    augmentation = Augmentation(8, padding=1)
    with pytest.raises(ValueError, match="images of 7 x 7 pixels with their padding are smaller than 8"):
        augmentation(batch(2, 5), draw(augmentation, 2))
