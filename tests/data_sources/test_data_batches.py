"""From splits to batches: complete, in an order and with changes that are functions of the seed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numbered_images import colours

from leannet.data import (
    Augmentation,
    CachedPixels,
    EvalBatches,
    MappedPixels,
    StreamedPixels,
    TrainBatches,
    load_pixels,
    open_source,
    training_storage,
)
from leannet.data.reading import Reading
from leannet_runtime.preprocessing import Preprocessing

SMALL = Preprocessing(4, crop_pct=1.0)
AUGMENTATION = Augmentation(4, padding=1, reprob=0.3)


@pytest.fixture
def source(make_folder):
    return open_source(make_folder({"train/a": 9, "train/b": 8, "test/a": 3, "test/b": 4}), workers=2)


@pytest.fixture
def train(source):
    return load_pixels(source, "train", SMALL)


def numbers(images, preprocessing=SMALL):
    """The number of each image, by its colour."""
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (preprocessing.mean, preprocessing.std))
    return ((images * std + mean) * 255).round().long()[:, 0, 1, 1].tolist()


def flat(batches):
    batches = list(batches)
    return torch.cat([images for images, _ in batches]), torch.cat([labels for _, labels in batches])


def test_evaluation_sees_every_image_once_as_preprocessing_makes_it(source):
    split = source.splits["test"]
    preprocessing = Preprocessing(3)
    progress = []
    reading = Reading(progress=lambda done, count: progress.append((done, count)))
    pixels = load_pixels(replace(source, reading=reading), "test", preprocessing)
    assert progress == [(7, 7)]
    for batch_size in (1, 3, 7, 100):
        batches = EvalBatches(pixels, preprocessing, batch_size)
        images, labels = flat(batches)
        assert len(list(batches)) == len(batches) == -(-7 // batch_size)
        assert labels.tolist() == split.labels.tolist()
        expected = preprocessing.normalise(np.stack([preprocessing.pixels(split.read(index)) for index in range(7)]))
        torch.testing.assert_close(images, torch.from_numpy(expected), atol=1e-6, rtol=0)
        assert images.dtype == torch.float32
        assert labels.dtype == torch.int64


def test_an_epoch_is_a_permutation_and_a_function_of_seed_and_epoch(train):
    plain = Augmentation(4, hflip=0.0)
    orders = {}
    for seed, epoch in ((0, 0), (0, 1), (1, 0)):
        images, labels = flat(TrainBatches(train, plain, 5, seed=seed).epoch(epoch))
        orders[seed, epoch] = numbers(images)
        assert sorted(orders[seed, epoch]) == list(range(17))
        assert labels.tolist() == [int(number >= 9) for number in orders[seed, epoch]]
        torch.manual_seed(99)
        state = torch.get_rng_state()
        again, _ = flat(TrainBatches(train, plain, 5, seed=seed).epoch(epoch))
        assert numbers(again) == orders[seed, epoch]
        assert torch.equal(torch.get_rng_state(), state)
    assert len({tuple(order) for order in orders.values()}) == 3


@pytest.mark.parametrize("workers", [1, 2])
def test_streamed_and_mapped_images_are_those_in_memory(source, train, workers):
    source = replace(source, reading=Reading(workers=workers))
    others = [load_pixels(source, "train", SMALL, memory_limit=0, disk_limit=limit) for limit in (0, 10**6)]
    assert [type(pixels) for pixels in (train, *others)] == [CachedPixels, StreamedPixels, MappedPixels]
    torch.manual_seed(99)
    state = torch.get_rng_state()
    for other_pixels in others:
        for one, other in zip(
            TrainBatches(train, AUGMENTATION, 4, seed=5).epoch(2),
            TrainBatches(other_pixels, AUGMENTATION, 4, seed=5).epoch(2),
            strict=True,
        ):
            assert torch.equal(one[0], other[0])
            assert torch.equal(one[1], other[1])
            assert other[0].is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(torch.get_rng_state(), state)


def test_what_happens_to_an_image_does_not_depend_on_the_batch_size_or_on_resuming(train):
    whole, _ = flat(TrainBatches(train, AUGMENTATION, 17, seed=1).epoch(3))
    small, _ = flat(TrainBatches(train, AUGMENTATION, 3, seed=1).epoch(3))
    rest, _ = flat(TrainBatches(train, AUGMENTATION, 3, seed=1).epoch(3, first_batch=2))
    assert torch.equal(whole, small)
    assert torch.equal(whole[6:], rest)


@pytest.mark.parametrize(("batch_size", "sizes"), [(17, [17]), (16, [16]), (15, [15, 2]), (100, [17]), (8, [8, 8])])
def test_a_last_batch_of_one_is_left_out(train, batch_size, sizes):
    batches = TrainBatches(train, Augmentation(4), batch_size, seed=0)
    assert [len(labels) for _, labels in batches.epoch(0)] == sizes
    assert len(batches) == len(sizes)


def test_a_single_image_is_a_batch(train):
    one = CachedPixels(train.images[:1], train.split.take(np.arange(1)))
    assert [len(labels) for _, labels in TrainBatches(one, Augmentation(4), 8, seed=0).epoch(0)] == [1]


def test_pixels_in_memory(source, train):
    assert train.images.shape == (17, 3, 4, 4)
    assert train.images.dtype == torch.uint8
    assert train.images.is_contiguous(memory_format=torch.channels_last)
    assert train.images[:, 0, 0, 0].tolist() == colours(source.splits["train"])
    assert train.labels.tolist() == [0] * 9 + [1] * 8


def test_storage_for_small_pictures_and_photographs(source, shared):
    assert training_storage(source.splits["train"], Preprocessing(4)) == Preprocessing(4, crop_pct=1.0)
    photographs = open_source(shared / "clothing").splits["train"]
    assert training_storage(photographs, Preprocessing(64)) == Preprocessing(73, crop_pct=1.0)
    assert training_storage(photographs, Preprocessing(224)).img_size == 224
