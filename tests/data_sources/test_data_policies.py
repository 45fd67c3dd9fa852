"""Policies of augmentation: torchvision's, from each image's own random number."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from leannet.data import Augmentation, CachedPixels, Split, TrainBatches
from leannet_runtime.errors import UserError

PLAIN = Augmentation(16, hflip=0.5, padding=2)
CASES = {
    "rand-m9-n2": v2.RandAugment(2, 27),
    "rand-n3-m4": v2.RandAugment(3, 12),
    "rand-m0": v2.RandAugment(2, 0),
    "rand": v2.RandAugment(2, 30),
    "trivial": v2.TrivialAugmentWide(),
    "auto": v2.AutoAugment(v2.AutoAugmentPolicy.IMAGENET),
    "augmix": v2.AugMix(),
}


def batch(count=12, side=16):
    images = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=torch.Generator())
    return images.contiguous(memory_format=torch.channels_last)


def to_bytes(normal, augmentation):
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (augmentation.mean, augmentation.std))
    return ((normal * std + mean) * 255).round().to(torch.uint8)


@pytest.mark.parametrize("scale", [None, (0.3, 1.0)])
@pytest.mark.parametrize("aa", CASES)
def test_policy_is_torchvisions_between_crop_and_normalising(aa, scale):
    plain = replace(PLAIN, scale=scale)
    changed = replace(plain, aa=aa)
    draws = changed.draw(12, torch.Generator().manual_seed(1))
    result = changed(batch(), draws)
    cut = to_bytes(plain(batch(), draws[:, :-1]), plain)
    for image, draw, ours in zip(cut, draws[:, -1].tolist(), to_bytes(result, plain), strict=True):
        torch.manual_seed(int(draw * 2**24))
        assert torch.equal(CASES[aa](image), ours)
    if aa != "rand-m0":
        assert not torch.equal(cut, to_bytes(result, plain))
    assert result.is_contiguous(memory_format=torch.channels_last)


def test_other_random_numbers_stay_as_they_are():
    changed = replace(PLAIN, aa="trivial")
    one, other = (
        augmentation.draw(5, torch.Generator().manual_seed(2)) for augmentation in (PLAIN, changed)
    )  # fmt: skip
    assert torch.equal(one, other[:, :-1])
    state = torch.get_rng_state()
    changed(batch(5), other)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("aa", ["rand-m9-n2", "augmix"])
def test_batches_are_a_function_of_seed_epoch_and_image(aa):
    train = CachedPixels(batch(20), Split([None] * 20, np.arange(20), np.arange(20) % 2))
    augmentation = replace(PLAIN, aa=aa, reprob=0.2)

    def images(batch_size, epoch=1, first_batch=0, **shared):
        torch.manual_seed(batch_size)
        batches = TrainBatches(train, augmentation, batch_size, seed=3, **shared).epoch(epoch, first_batch)
        return torch.cat([images for images, _ in batches])

    whole = images(20)
    assert torch.equal(images(5), whole)
    assert torch.equal(images(5, first_batch=2), whole[10:])
    shares = [images(10, rank=rank, world_size=2) for rank in range(2)]
    assert torch.equal(torch.cat(shares), whole)
    assert not torch.equal(images(20, epoch=2), whole)


@pytest.mark.parametrize(
    ("aa", "said"),
    [
        ("randaugment", "augmentation 'randaugment': not known. Choose rand-m9-n2 (RandAugment"),
        ("", "augmentation '': not known"),
        (
            "rand-m9-mstd0.5-inc1",
            "augmentation 'rand-m9-mstd0.5-inc1': its part 'mstd0.5' is not known. Choose rand-m9",
        ),
        ("rand-m9-", "its part '' is not known"),
        ("rand-m11", "the magnitude m is at most 10, the number n of operations at least 1"),
        ("rand-m9-n0", "the magnitude m is at most 10, the number n of operations at least 1"),
    ],
)
def test_unknown_policies_are_refused(aa, said):
    with pytest.raises(UserError) as caught:
        Augmentation(32, aa=aa)
    assert said in str(caught.value)
