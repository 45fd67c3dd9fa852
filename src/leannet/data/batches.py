"""Batches for training and for evaluation, from pixels of one size."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from leannet.data.augment import Augmentation, normalise
from leannet.data.loading import Pixels
from leannet_runtime.preprocessing import Preprocessing

__all__ = ["EvalBatches", "TrainBatches"]


class TrainBatches:
    """Shuffled and augmented batches, epoch by epoch.

    The order of the images is a function of seed and epoch; what happens to an image is a function of seed, epoch and
    its position in the split. So neither depends on the number of workers, on the batch size or on where a run was
    stopped and resumed, and the global random numbers are left alone.

    The last batch of an epoch may be smaller. It is left out only if it has a single image, of which BatchNorm cannot
    take statistics, and is not the only batch.

    Args:
        pixels: The stored images.
        augmentation: What happens to them.
        batch_size: Images per batch.
        seed: Not negative.
    """

    def __init__(self, pixels: Pixels, augmentation: Augmentation, batch_size: int, *, seed: int) -> None:
        self.pixels = pixels
        self.augmentation = augmentation
        self.batch_size = batch_size
        self.seed = seed
        self.labels = torch.from_numpy(pixels.split.labels)

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        whole, rest = divmod(len(self.pixels), self.batch_size)
        return whole + (rest >= 2 or (rest == 1 and whole == 0))

    def order(self, epoch: int) -> list[Tensor]:
        """Return the positions of the images of each batch of an epoch."""
        shuffled = torch.randperm(len(self.pixels), generator=_generator(self.seed, epoch, 0))
        return _cut(shuffled, self.batch_size)[: len(self)]

    def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch.

        Args:
            epoch: Its number, from 0.
            first_batch: How many batches to pass over, when a run goes on in the middle of an epoch.

        Yields:
            Normalised images, float32 of shape ``(B, 3, img_size, img_size)`` in the channels-last memory format,
            and labels, int64 of shape ``(B,)``.
        """
        draws = self.augmentation.draw(len(self.pixels), _generator(self.seed, epoch, 1))
        order = self.order(epoch)[first_batch:]
        for positions, images in zip(order, self.pixels.batches(order), strict=True):
            yield self.augmentation(images, draws[positions]), self.labels[positions]


class EvalBatches:
    """Every image exactly once, in the order of the split, prepared as the network expects it.

    Args:
        pixels: The images, stored by the same `preprocessing`.
        preprocessing: That of the network.
        batch_size: Images per batch; the last one may be smaller.
    """

    def __init__(self, pixels: Pixels, preprocessing: Preprocessing, batch_size: int) -> None:
        self.pixels = pixels
        self.preprocessing = preprocessing
        self.batch_size = batch_size
        self.labels = torch.from_numpy(pixels.split.labels)

    def __len__(self) -> int:
        """Return the number of batches."""
        return -(-len(self.pixels) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images and labels as `TrainBatches.epoch` does."""
        order = _cut(torch.arange(len(self.pixels)), self.batch_size)
        for positions, images in zip(order, self.pixels.batches(order), strict=True):
            yield normalise(images, self.preprocessing.mean, self.preprocessing.std), self.labels[positions]


def _cut(positions: Tensor, batch_size: int) -> list[Tensor]:
    return [positions[begin : begin + batch_size] for begin in range(0, len(positions), batch_size)]


def _generator(*numbers: int) -> torch.Generator:
    """Return random numbers that are a function of these numbers; near numbers give unrelated ones."""
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> 1))  # 63 bits: some devices take no more
