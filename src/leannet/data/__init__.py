"""From a name or a path to batches."""

from leannet.data.augment import Augmentation
from leannet.data.batches import EvalBatches, Sampler, TrainBatches
from leannet.data.loading import load_pixels, training_storage, typical_side
from leannet.data.mapped import MappedPixels
from leannet.data.pixels import CachedPixels, Pixels, StreamedPixels
from leannet.data.reading import BadImages, Reading
from leannet.data.scan import Duplicate, Scan, ScanRow, scan_source
from leannet.data.source import SPLIT_SEED, Source, open_source, with_validation
from leannet.data.split import Split

__all__ = [
    "SPLIT_SEED",
    "Augmentation",
    "BadImages",
    "CachedPixels",
    "Duplicate",
    "EvalBatches",
    "MappedPixels",
    "Pixels",
    "Reading",
    "Sampler",
    "Scan",
    "ScanRow",
    "Source",
    "Split",
    "StreamedPixels",
    "TrainBatches",
    "load_pixels",
    "open_source",
    "scan_source",
    "training_storage",
    "typical_side",
    "with_validation",
]
