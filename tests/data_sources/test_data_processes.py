"""Several processes together see what one sees; and the balanced sampler."""

from collections import Counter

import numpy as np
import pytest
import torch

from leannet.data import Augmentation, CachedPixels, EvalBatches, Split, TrainBatches
from leannet_runtime.errors import UserError
from leannet_runtime.preprocessing import Preprocessing

AUGMENTATION = Augmentation(4, padding=1, reprob=0.3)


def pixels(labels):
    images = torch.randint(0, 256, (len(labels), 3, 4, 4), dtype=torch.uint8, generator=torch.Generator())
    split = Split([None] * len(labels), np.arange(len(labels)), np.array(labels, dtype=np.int64))
    return CachedPixels(images.contiguous(memory_format=torch.channels_last), split)


def steps(train, batch_size, world_size=1, **options):
    """What each step of an epoch sees, put together from all processes, and how many images each process gets."""
    ranks = [
        TrainBatches(train, AUGMENTATION, batch_size, seed=3, rank=rank, world_size=world_size, **options)
        for rank in range(world_size)
    ]
    assert len({len(batches) for batches in ranks}) == 1
    shares = list(zip(*(batches.epoch(2) for batches in ranks), strict=True))
    counts = [[len(labels) for _, labels in share] for share in shares]
    assert [ranks[0].total_count(2, step) for step in range(len(ranks[0]))] == [sum(count) for count in counts]
    return [tuple(map(torch.cat, zip(*share, strict=True))) for share in shares], counts


@pytest.mark.parametrize("sampler", ["shuffle", "balanced"])
@pytest.mark.parametrize("count", [64, 65, 67, 71])
@pytest.mark.parametrize(("world_size", "batch_size"), [(2, 16), (4, 8)])
def test_processes_together_see_what_one_sees(sampler, count, world_size, batch_size):
    train = pixels([number % 3 for number in range(count)])
    alone, _ = steps(train, batch_size * world_size, sampler=sampler)
    together, counts = steps(train, batch_size, world_size, sampler=sampler)
    assert len(together) == 2 + (count - 64 >= 2 * world_size)
    for one, other in zip(alone, together, strict=False):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])
    assert counts[:2] == [[batch_size] * world_size] * 2
    assert all(max(share) - min(share) <= 1 and min(share) >= 2 for share in counts)


def test_only_step_is_kept_however_small():
    assert steps(pixels([0, 1, 0]), 8, 2)[1] == [[2, 1]]
    assert steps(pixels([0]), 8)[1] == [[1]]
    with pytest.raises(UserError, match="4 processes cannot share 3 training images"):
        steps(pixels([0, 1, 0]), 8, 4)


@pytest.mark.parametrize(("count", "world_size"), [(7, 1), (7, 2), (8, 3), (2, 3)])
def test_evaluation_by_several_processes_sees_every_image_once(count, world_size):
    held_out = pixels(list(range(count)))
    seen = {}
    for rank in range(world_size):
        batches = EvalBatches(held_out, Preprocessing(4), 2, rank=rank, world_size=world_size)
        assert batches.positions.tolist() == list(range(rank, count, world_size))
        labels = [label for _, part in batches for label in part.tolist()]
        assert len(list(batches)) == len(batches)
        seen |= dict(zip(batches.positions.tolist(), labels, strict=True))
    assert seen == {number: number for number in range(count)}


def test_balanced_sampler_draws_classes_equally_often():
    labels = [3] * 2 + [0] * 90 + [1] * 9  # and no image of class 2
    batches = TrainBatches(pixels(labels), AUGMENTATION, 10, seed=0, sampler="balanced")
    orders = [torch.cat(batches.order(epoch)) for epoch in range(40)]
    for order in orders:
        assert len(order) == 100  # the last step would have a single image
        assert sorted(Counter(labels[position] for position in order.tolist()).values()) in ([33, 33, 34], [32, 34, 34])
    assert torch.equal(orders[3], torch.cat(batches.order(3)))
    assert not torch.equal(orders[3], orders[4])
    drawn = Counter(torch.cat(orders).tolist())
    assert len(drawn) == len(labels)
    of_class_one = [drawn[position] for position in range(92, 101)]
    assert 100 < min(of_class_one) <= max(of_class_one) < 200  # 40 epochs of 33 draws from 9 images: 148 each


def test_repeated_images_are_changed_in_different_ways():
    batches = TrainBatches(pixels([0] * 40 + [1]), AUGMENTATION, 41, seed=0, sampler="balanced")
    ((images, labels),) = batches.epoch(0)
    repeated = images[labels == 1]
    assert len(repeated) in (20, 21)
    assert len({image.numpy().tobytes() for image in repeated}) > 10
