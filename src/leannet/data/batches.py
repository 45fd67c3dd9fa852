"""Batches for training and for evaluation, from pixels of one size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from leannet.data.augment import Augmentation, normalise
from leannet.data.pixels import Pixels
from leannet_runtime.errors import UserError
from leannet_runtime.preprocessing import Preprocessing

__all__ = ["EvalBatches", "Sampler", "TrainBatches"]

Sampler: TypeAlias = Literal["shuffle", "balanced"]


class TrainBatches:
    """Shuffled and augmented batches, epoch by epoch.

    The order of the images is a function of seed and epoch; what happens to an image is a function of seed, epoch and
    its position in the split (with "balanced", its place in the epoch, so that repetitions differ). So neither depends
    on the number of workers or processes, on the batch size or on where a run was stopped and resumed, and the global
    random numbers are left alone.

    With several processes, a step takes the next ``batch_size * world_size`` images of the epoch, and each process a
    run of them: two processes with batches of 16 see what one sees with batches of 32.

    The last step of an epoch may be smaller. It is left out only if some process would get fewer than two images, of
    which BatchNorm cannot take statistics, and it is not the only step.

    Args:
        pixels: The stored images.
        augmentation: What happens to them.
        batch_size: Images per batch, in each process.
        seed: Not negative.
        sampler: "shuffle": every image once an epoch. "balanced": as many images an epoch, but as many of each class
            (give or take one), drawn with replacement.
        rank: Which process this is, from 0.
        world_size: How many processes share each step.

    Raises:
        UserError: There are fewer images than processes.
    """

    def __init__(
        self,
        pixels: Pixels,
        augmentation: Augmentation,
        batch_size: int,
        *,
        seed: int,
        sampler: Sampler = "shuffle",
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if 0 < len(pixels) < world_size:
            why = f"{world_size} processes cannot share {len(pixels)} training images"
            raise UserError("too many processes", why, "Start fewer processes")
        self.pixels = pixels
        self.augmentation = augmentation
        self.batch_size = batch_size
        self.seed = seed
        self.sampler = sampler
        self.rank = rank
        self.world_size = world_size
        self.labels = torch.from_numpy(pixels.split.labels)

    def __len__(self) -> int:
        """Return the number of steps of an epoch, the same in every process."""
        whole, rest = divmod(len(self.pixels), self.batch_size * self.world_size)
        return whole + (rest >= 2 * self.world_size or (rest > 0 and whole == 0))

    def total_count(self, epoch: int, step: int) -> int:
        """Return how many images a step has over all processes.

        Args:
            epoch: The number of the epoch, from 0; all epochs are alike.
            step: The number of the step in its epoch, from 0.
        """
        del epoch
        total = self.batch_size * self.world_size
        return min(total, len(self.pixels) - step * total)

    def order(self, epoch: int) -> list[Tensor]:
        """Return the positions of the images of each batch of an epoch, those of this process."""
        drawn = self._drawn(epoch)
        return [drawn[places] for places in self._places()]

    def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch, those of this process.

        Args:
            epoch: Its number, from 0.
            first_batch: How many batches to pass over, when a run goes on in the middle of an epoch.

        Yields:
            Normalised images, float32 of shape ``(B, 3, img_size, img_size)`` in the channels-last memory format,
            and labels, int64 of shape ``(B,)``.
        """
        draws = self.augmentation.draw(len(self.pixels), _generator(self.seed, epoch, 1))
        drawn, places = self._drawn(epoch), self._places()[first_batch:]
        order = [drawn[part] for part in places]
        owners = order if self.sampler == "shuffle" else places
        for positions, owner, images in zip(order, owners, self.pixels.batches(order), strict=True):
            yield self.augmentation(images, draws[owner]), self.labels[positions]

    def _drawn(self, epoch: int) -> Tensor:
        """Return the positions of the images of an epoch in order, those of all processes."""
        generator = _generator(self.seed, epoch, 0)
        if self.sampler == "balanced":
            return _balanced(self.labels, generator)
        return torch.randperm(len(self.pixels), generator=generator)

    def _places(self) -> list[Tensor]:
        """Return where in an epoch the images of each batch of this process stand."""
        steps = _cut(torch.arange(len(self.pixels)), self.batch_size * self.world_size)[: len(self)]
        return [places.tensor_split(self.world_size)[self.rank] for places in steps]


class EvalBatches:
    """Every image exactly once, in the order of the split, prepared as the network expects it.

    Args:
        pixels: The images, stored by the same `preprocessing`.
        preprocessing: That of the network.
        batch_size: Images per batch; the last one may be smaller.
        rank: Which process this is, from 0: it takes the images at ``rank``, ``rank + world_size`` and so on.
        world_size: How many processes share the images. One of them may get none.

    Attributes:
        positions: Where in the split the images of this process stand, in the order in which they are yielded; int64.
    """

    def __init__(
        self, pixels: Pixels, preprocessing: Preprocessing, batch_size: int, *, rank: int = 0, world_size: int = 1
    ) -> None:
        self.pixels = pixels
        self.preprocessing = preprocessing
        self.batch_size = batch_size
        self.labels = torch.from_numpy(pixels.split.labels)
        self.positions = torch.arange(len(pixels))[rank::world_size]

    def __len__(self) -> int:
        """Return the number of batches of this process."""
        return -(-len(self.positions) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images and labels as `TrainBatches.epoch` does."""
        order = _cut(self.positions, self.batch_size)
        for positions, images in zip(order, self.pixels.batches(order), strict=True):
            yield normalise(images, self.preprocessing.mean, self.preprocessing.std), self.labels[positions]


def _balanced(labels: Tensor, generator: torch.Generator) -> Tensor:
    """Draw as many positions as there are labels, as many of each class (give or take one), in random order."""
    classes, counts = labels.unique(return_counts=True)
    members = labels.argsort(stable=True)  # class after class
    begins = counts.cumsum(0) - counts
    # Which classes come once more than the others is drawn too.
    turns = torch.randperm(len(classes), generator=generator)
    chosen = turns[torch.randperm(len(labels), generator=generator) % len(classes)]
    shares = torch.rand(len(labels), generator=generator, dtype=torch.float64)
    return members[begins[chosen] + (shares * counts[chosen]).long()]


def _cut(positions: Tensor, batch_size: int) -> list[Tensor]:
    return [positions[begin : begin + batch_size] for begin in range(0, len(positions), batch_size)]


def _generator(*numbers: int) -> torch.Generator:
    """Return random numbers that are a function of these numbers; near numbers give unrelated ones."""
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> 1))  # 63 bits: some devices take no more
