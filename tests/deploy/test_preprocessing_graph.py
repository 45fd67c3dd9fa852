"""The first nodes of an exported file against pillow, through ONNX Runtime."""

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_sample_images

from leannet.deploy.formats.preprocessing_graph import preprocessing_graph, tall_first
from leannet_runtime import Preprocessing, UserError

DESCRIPTIONS = [
    Preprocessing(size, crop_pct, interpolation, mean, std)
    for interpolation in ("bilinear", "bicubic", "nearest")
    for size, crop_pct, mean, std in (
        (32, 1.0, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        (28, 0.875, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        (57, 0.95, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    )
]
# Black and white noise overshoots as nothing else does: a few of a million pixels of bicubic differ by two levels.
LARGEST = {"nearest": 0.001, "bilinear": 1.001, "bicubic": 2.001}
SIZES = [
    (1, 1), (1, 2), (1, 16), (16, 1), (2, 31), (7, 7), (28, 28), (28, 32), (31, 29), (32, 32), (33, 32), (32, 35),
    (60, 60), (57, 61), (64, 64), (64, 96), (63, 200), (50, 101), (50, 100), (200, 63), (300, 299), (127, 640),
]  # fmt: skip


def session_of(description, opset=18):
    model = preprocessing_graph(description, opset)
    onnx.checker.check_model(model, full_check=True)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def sessions():
    return {description: session_of(description) for description in DESCRIPTIONS}


def noise(width, height, seed=0):
    """Black and white noise: nothing else overshoots and is clipped as much."""
    pixels = np.random.default_rng(seed).integers(0, 2, (height, width, 3), dtype=np.uint8) * 255
    return Image.fromarray(pixels)


def levels_of(normalised, description):
    """Return pixels on the scale 0..255, ``(N, S, S, 3)``, which a graph's output stands for."""
    pixels = np.moveaxis(normalised.astype(np.float64), 1, -1)
    return 255 * (pixels * description.std + description.mean)


def differences(session, description, pictures):
    """Return by how many levels the graph differs from pillow; all pictures have one size."""
    found = session.run(None, {"image": np.stack([np.asarray(picture) for picture in pictures])})[0]
    wanted = np.stack([description.pixels(picture) for picture in pictures])
    assert found.dtype == np.float32
    assert found.shape == (len(pictures), 3, description.img_size, description.img_size)
    return np.abs(levels_of(found, description) - wanted)


@pytest.mark.parametrize("description", DESCRIPTIONS, ids=lambda d: f"{d.interpolation}-{d.img_size}-{d.crop_pct}")
def test_pixels_are_pillows_but_for_a_level_now_and_then(sessions, description):
    found = [differences(sessions[description], description, [noise(*size)]).ravel() for size in SIZES]
    found = np.concatenate(found)
    assert found.max() < LARGEST[description.interpolation]
    assert (found > 1.5).mean() < 1e-5
    assert found.mean() < 0.1  # many of these sizes halve, and what lies in the middle is rounded up or down


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    description=st.sampled_from(DESCRIPTIONS),
    short=st.integers(1, 90),
    ratio=st.floats(1, 16),
    tall=st.booleans(),
    count=st.sampled_from([1, 2, 7]),
    seed=st.integers(0, 99),
)
def test_any_size_and_batch(sessions, description, short, ratio, tall, count, seed):
    size = (short, int(short * ratio))[:: 1 if tall else -1]
    pictures = [noise(*size, seed + number) for number in range(count)]
    found = differences(sessions[description], description, pictures)
    assert found.max() < LARGEST[description.interpolation]


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
def test_photographs(interpolation):
    description = Preprocessing(224, interpolation=interpolation)
    session = session_of(description, opset=20)
    photographs = [Image.fromarray(image) for image in load_sample_images().images]
    for pictures in (photographs, [picture.rotate(90, expand=True).crop((0, 0, 190, 640)) for picture in photographs]):
        found = differences(session, description, pictures)
        assert found.max() < 1.001
        assert (found > 0.5).mean() < 0.01


def test_normalised_as_preprocessing_does():
    description = Preprocessing(8, crop_pct=1.0)
    picture = noise(8, 8)
    found = session_of(description).run(None, {"image": np.asarray(picture)[None]})[0]
    np.testing.assert_allclose(found[0], description.normalise(description.pixels(picture)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(3, 1000), (1000, 3), (1, 40_001)])
def test_very_long_pictures_need_little_memory_and_lie_at_most_a_pixel_beside(size):
    description = Preprocessing(24, crop_pct=1.0, interpolation="bilinear")
    ramp = np.linspace(0, 255, max(size)).astype(np.uint8)
    shape = (1, -1, 1) if size[0] > size[1] else (-1, 1, 1)
    picture = Image.fromarray(np.ascontiguousarray(np.broadcast_to(ramp.reshape(shape), (size[1], size[0], 3))))
    assert differences(session_of(description), description, [picture]).max() < 2


def test_pillow_begins_with_the_pass_that_was_found():
    """The order of pillow's passes is known from its pixels; a graph with the other order would not pass above."""
    for size, wanted in (((64, 48), (40, 30)), ((25, 125), (4, 20)), ((48, 144), (3, 9)), ((25, 50), (4, 8))):
        vertical = tall_first() and size[1] - wanted[1] > 2 * (size[0] - wanted[0])
        between = (size[0], wanted[1]) if vertical else (wanted[0], size[1])
        once = noise(*size).resize(wanted, Image.Resampling.BICUBIC)
        twice = noise(*size).resize(between, Image.Resampling.BICUBIC).resize(wanted, Image.Resampling.BICUBIC)
        assert once.tobytes() == twice.tobytes()


def test_lanczos_is_refused():
    with pytest.raises(UserError, match=r"not by lanczos\. Pass --preprocess outside"):
        preprocessing_graph(Preprocessing(32, interpolation="lanczos"), 18)
