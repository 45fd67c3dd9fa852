"""Images of noise in memory: what training takes, without files."""

import torch

from leannet.data import Augmentation, CachedPixels, EvalBatches, Split, TrainBatches
from leannet_runtime import Preprocessing

SIDE, CLASSES = 8, 3
PREPROCESSING = Preprocessing(SIDE, crop_pct=1.0)


def pixels(count=12, seed=0):
    """Return noise with labels 0, 1, 2, 0, 1, 2 ..."""
    images = torch.randint(
        0, 256, (count, 3, SIDE, SIDE), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )
    rows = torch.arange(count).numpy()
    return CachedPixels(images.contiguous(memory_format=torch.channels_last), Split(None, rows, rows % CLASSES))


def train_batches(count=12, batch_size=6, seed=0):
    """Return augmented batches."""
    return TrainBatches(pixels(count), Augmentation(SIDE, hflip=0.5), batch_size, seed=seed)


def eval_batches(count=12, batch_size=5):
    """Return every image once; the last batch is smaller."""
    return EvalBatches(pixels(count), PREPROCESSING, batch_size)
