"""Our preprocessing against torchvision's and timm's."""

import json
import math

import numpy as np
import pytest
import timm.data
import torch
import torchvision.transforms as v1
from PIL import Image
from torchvision.transforms import v2

from leannet_runtime.errors import UserError
from leannet_runtime.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

SIZES = [(1, 1), (8, 8), (32, 32), (33, 31), (224, 298), (298, 224), (257, 256), (640, 427), (3, 40), (500, 37)]
DESCRIPTIONS = [
    Preprocessing(224),
    Preprocessing(32, crop_pct=1.0),
    Preprocessing(65, crop_pct=0.9, interpolation="bilinear"),
    Preprocessing(48, crop_pct=0.95, interpolation="lanczos"),
    Preprocessing(31, crop_pct=0.875, interpolation="nearest"),
]


def photograph(size):
    width, height = size
    rng = np.random.default_rng(width * 1000 + height)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def short_side(description):
    return math.floor(description.img_size / description.crop_pct)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("description", DESCRIPTIONS, ids=lambda d: f"{d.img_size}-{d.interpolation}")
def test_pixels_are_those_of_torchvision(size, description):
    image = photograph(size)
    pixels = description.pixels(image)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (description.img_size, description.img_size, 3)
    for library in (v1, v2):
        mode = v1.InterpolationMode(description.interpolation)
        theirs = library.Compose(
            [library.Resize(short_side(description), mode), library.CenterCrop(description.img_size)]
        )(image)
        np.testing.assert_array_equal(pixels, np.asarray(theirs))


@pytest.mark.parametrize("size", [(3, 1000), (1000, 3), (1, 400)])
def test_very_long_images_differ_by_one_at_most(size):
    # Bilinear, because bicubic overshoots on noise, and what is clipped in between depends on the order of the passes.
    description = Preprocessing(64, interpolation="bilinear")
    theirs = v1.CenterCrop(64)(v1.Resize(short_side(description), v1.InterpolationMode.BILINEAR)(photograph(size)))
    difference = description.pixels(photograph(size)).astype(int) - np.asarray(theirs)
    assert np.abs(difference).max() <= 1


def test_a_line_of_a_million_pixels_takes_little_memory():
    assert Preprocessing(224).pixels(Image.new("RGB", (1, 1_000_000), "red")).mean(axis=(0, 1)).tolist() == [255, 0, 0]


@pytest.mark.parametrize("description", DESCRIPTIONS[:3], ids=lambda d: f"{d.img_size}-{d.interpolation}")
def test_normalised_as_torchvision_and_timm_do(description):
    image = photograph((298, 224))
    ours = torch.from_numpy(description.normalise(description.pixels(image)))
    tensor = v1.Compose([v1.ToTensor(), v1.Normalize(IMAGENET_MEAN, IMAGENET_STD)])
    torch.testing.assert_close(ours, tensor(Image.fromarray(description.pixels(image))), atol=2e-6, rtol=0)
    theirs = timm.data.create_transform(
        (3, description.img_size, description.img_size),
        is_training=False,
        interpolation=description.interpolation,
        crop_pct=description.crop_pct,
    )(image)
    torch.testing.assert_close(ours, theirs, atol=2e-6, rtol=0)


def test_normalise_takes_one_image_or_a_batch():
    description = Preprocessing(16)
    batch = np.stack([description(photograph((20, 30))), description(photograph((40, 30)))])
    normal = description.normalise(batch)
    assert normal.shape == (2, 3, 16, 16)
    assert normal.dtype == np.float32
    assert normal.flags.c_contiguous
    np.testing.assert_array_equal(normal[1], description.normalise(batch[1]))


def test_timm_configuration_there_and_back():
    description = Preprocessing(96, 0.9, "bilinear", (0.5, 0.4, 0.3), (0.2, 0.2, 0.1))
    cfg = json.loads(json.dumps(description.to_pretrained_cfg()))
    assert cfg["input_size"] == [3, 96, 96]
    assert Preprocessing.from_pretrained_cfg(cfg) == description
    assert Preprocessing.from_pretrained_cfg({"input_size": (3, 32, 32)}) == Preprocessing(32)
    network = timm.create_model("efficientnet_lite0")
    ours = Preprocessing.from_pretrained_cfg(network.pretrained_cfg)
    resolved = timm.data.resolve_data_config(model=network)
    assert {**resolved, "input_size": list(resolved["input_size"])}.items() >= {
        **ours.to_pretrained_cfg(), "mean": tuple(ours.mean), "std": tuple(ours.std),
    }.items()  # fmt: skip


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"img_size": 0}, "img_size 0: an image has at least one pixel"),
        ({"crop_pct": 1.2}, "crop_pct 1.2: it is a share above 0 and up to 1"),
        ({"interpolation": "area"}, "interpolation 'area': not known. Choose one of nearest, bilinear"),
        ({"crop_mode": "squash"}, "crop_mode 'squash': not supported"),
        ({"std": (0.1, 0.0, 0.1)}, "each needs three numbers"),
    ],
)
def test_wrong_values_are_named(values, expected):
    with pytest.raises(UserError) as caught:
        Preprocessing(**{"img_size": 32, **values})
    assert expected in str(caught.value)


def test_input_must_be_a_square_of_three_channels():
    for size in ([1, 28, 28], [3, 224, 160]):
        with pytest.raises(UserError, match="not a square of 3 channels"):
            Preprocessing.from_pretrained_cfg({"input_size": size})


def test_only_decoded_images_are_taken():
    with pytest.raises(ValueError, match="mode RGB, got L"):
        Preprocessing(8).pixels(Image.new("L", (8, 8)))
