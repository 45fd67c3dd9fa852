"""The images of a split as squares of one size: kept in memory, or decoded anew in each epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from leannet.data.split import Split
from leannet_runtime.preprocessing import Preprocessing

__all__ = ["CachedPixels", "Pixels", "StreamedPixels"]


class Pixels(Protocol):
    """The images of a split as squares of one size."""

    @property
    def split(self) -> Split:
        """The images and labels that these are; damaged ones are left out."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out."""
        ...

    def __len__(self) -> int: ...

    def batches(self, order: list[Tensor]) -> Iterator[Tensor]:
        """Yield uint8 images ``(B, 3, S, S)`` in the channels-last memory format, for each tensor of positions."""
        ...


@dataclass(frozen=True, eq=False)
class CachedPixels:
    """Pixels in memory.

    Args:
        images: uint8 of shape ``(N, 3, S, S)``, in the channels-last memory format.
        split: The images that these are, in the same order.
        notes: What was left out.
    """

    images: Tensor
    split: Split
    notes: tuple[str, ...] = ()

    @property
    def labels(self) -> Tensor:
        """Labels, int64 of shape ``(N,)``."""
        return torch.from_numpy(self.split.labels)

    def __len__(self) -> int:
        return len(self.split)

    def batches(self, order: list[Tensor]) -> Iterator[Tensor]:
        """Yield the images at each tensor of positions."""
        rows = self.images.permute(0, 2, 3, 1)  # contiguous: selecting a row is one copy
        for positions in order:
            yield rows.index_select(0, positions).permute(0, 3, 1, 2)


@dataclass(frozen=True, eq=False)
class StreamedPixels:
    """Pixels decoded by worker processes whenever they are needed, for sets that do not fit into memory.

    Args:
        preprocessing: What makes a square of a picture.
        split: The images.
        workers: How many processes decode; 0 decodes in this one.
        notes: What was left out.
    """

    preprocessing: Preprocessing
    split: Split
    workers: int
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.split)

    def batches(self, order: list[Tensor]) -> Iterator[Tensor]:
        """Yield the images at each tensor of positions."""
        loader = DataLoader(
            _Squares(self.split, self.preprocessing),
            batch_sampler=[positions.tolist() for positions in order],
            num_workers=self.workers,
            collate_fn=_stack,
            generator=torch.Generator(),  # else it would draw from the global random numbers
        )
        yield from loader


class _Squares(Dataset[Any]):
    def __init__(self, split: Split, preprocessing: Preprocessing) -> None:
        self.split = split
        self.preprocessing = preprocessing

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        return self.preprocessing.pixels(self.split.read(index))


def _stack(squares: list[NDArray[np.uint8]]) -> Tensor:
    return torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2)
