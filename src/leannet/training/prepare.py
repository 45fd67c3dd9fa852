"""From a source and a recipe to what the training loop takes; the same for every network that is compared."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from leannet.data import (
    Augmentation,
    EvalBatches,
    Pixels,
    Sampler,
    Scan,
    Source,
    TrainBatches,
    load_pixels,
    scan_source,
    training_storage,
    typical_side,
)
from leannet.training.recipe import Recipe
from leannet.training.teacher import Teacher, load_teacher
from leannet_runtime.preprocessing import Preprocessing

__all__ = ["PreparedData", "prepare_data", "settle_recipe"]

SMALL_PICTURE = 64
"""Images with a shorter side below this (in pixels) are small pictures, and are used at their own size."""

PHOTOGRAPH_SIZE = 224

IMBALANCE = 10
"""If the largest class has more than this many times the images of the smallest, the user gets advice."""


@dataclass(frozen=True)
class PreparedData:
    """Images ready for training and judging.

    Args:
        source: Where they come from, without damaged images.
        recipe: With every size settled.
        preprocessing: Of the images that are judged, and of every image the network will ever see.
        augmentation: Of the training images.
        train: Stored training images.
        parts: Stored images of the parts that are judged.
        scan: What was found when every image was decoded.
        notes: What the user should know.
    """

    source: Source
    recipe: Recipe
    preprocessing: Preprocessing
    augmentation: Augmentation
    train: Pixels
    parts: dict[str, Pixels]
    scan: Scan
    notes: tuple[str, ...]

    @property
    def held_out(self) -> Pixels:
        """Images of the part to be judged on in the end."""
        return self.parts[self.source.held_out[0]]

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.source.class_names)

    def train_batches(self, seed: int, rank: int = 0, world_size: int = 1) -> TrainBatches:
        """Return the augmented batches of a seed; with several processes, those of one of them."""
        sampler: Sampler = "balanced" if self.recipe.sampler == "balanced" else "shuffle"
        return TrainBatches(
            self.train,
            self.augmentation,
            self.recipe.batch_size,
            seed=seed,
            sampler=sampler,
            rank=rank,
            world_size=world_size,
        )

    def eval_batches(self, split: str | None = None, rank: int = 0, world_size: int = 1) -> EvalBatches:
        """Return the images of a split in order, by default the held-out ones; with several processes, one's share."""
        pixels = self.held_out if split is None else self.parts[split]
        size = max(self.recipe.batch_size, 128)
        return EvalBatches(pixels, self.preprocessing, size, rank=rank, world_size=world_size)

    def description(self) -> dict[str, Any]:
        """Return what ``environment.json`` says of the images."""
        source = self.source
        return {
            "name": source.name,
            "location": source.location,
            "fingerprint": source.fingerprint,
            "classes": list(source.class_names),
            "images": {"train": len(self.train), **{part: len(pixels) for part, pixels in self.parts.items()}},
            "judged_on": source.held_out[0],
            "img_size": self.recipe.img_size,
            "notes": list(self.notes),
        }

    def teacher(self, device: torch.device) -> Teacher | None:
        """Return the network to learn from, if the recipe names one."""
        if self.recipe.teacher is None:
            return None
        return load_teacher(self.recipe.teacher, self.source.class_names, self.preprocessing, device)


def settle_recipe(recipe: Recipe, source: Source) -> Recipe:
    """Fill in what a recipe leaves to the images: their size, what is cropped, whether they may be mirrored."""
    img_size = recipe.img_size
    if img_size is None:
        side = typical_side(source.splits["train"])
        # Multiples of 8, so that a network of total stride 8 ends on whole positions.
        img_size = max(8, round(side / 8) * 8) if 0 < side < SMALL_PICTURE else PHOTOGRAPH_SIZE
    crop_pct = recipe.crop_pct
    if crop_pct is None:
        crop_pct = 1.0 if img_size < SMALL_PICTURE else 0.875
    return replace(recipe, img_size=img_size, crop_pct=crop_pct, hflip=recipe.hflip if source.mirror else 0.0)


def prepare_data(
    source: Source, recipe: Recipe, *, parts: tuple[str, ...] | None = None, like: Preprocessing | None = None
) -> PreparedData:
    """Decode the images of a source as a recipe says.

    Args:
        source: From `leannet.data.open_source`; its `reading` says what happens to damaged images.
        recipe: The settings.
        parts: What is judged besides training: "validation", "test"; by default the held-out part.
        like: How the network saw images before, when it begins with weights; its mean, deviation and filter are kept.

    Returns:
        Images and settings; the recipe in it is settled.

    Raises:
        UserError: An image is damaged, or the recipe does not fit.
    """
    recipe = settle_recipe(recipe, source)
    assert recipe.img_size is not None
    assert recipe.crop_pct is not None
    preprocessing = Preprocessing(recipe.img_size, recipe.crop_pct, recipe.interpolation)
    if like is not None:
        preprocessing = replace(preprocessing, mean=like.mean, std=like.std, interpolation=like.interpolation)
    scan = scan_source(source)
    source = scan.source
    storage = training_storage(source.splits["train"], preprocessing)
    train = load_pixels(source, "train", storage)
    judged: dict[str, Pixels] = {
        part: load_pixels(source, part, preprocessing) for part in parts or (source.held_out[0],)
    }
    photographs = storage.img_size > recipe.img_size
    augmentation = Augmentation(
        recipe.img_size,
        preprocessing.mean,
        preprocessing.std,
        hflip=recipe.hflip,
        padding=0 if photographs else recipe.padding,
        scale=(recipe.scale_min, 1.0) if photographs else None,
        reprob=recipe.reprob,
        aa=recipe.aa,
    )
    stored = (note for pixels in (train, *judged.values()) for note in pixels.notes)
    notes = (*source.notes, *scan.notes, *stored, *_imbalance(source, recipe))
    return PreparedData(source, recipe, preprocessing, augmentation, train, judged, scan, notes)


def _imbalance(source: Source, recipe: Recipe) -> tuple[str, ...]:
    """Advise what to do about classes of very different sizes, unless something is done already."""
    counts = np.bincount(source.splits["train"].labels, minlength=len(source.class_names))
    if (recipe.class_weights, recipe.sampler) != ("none", "shuffle") or counts.max() <= IMBALANCE * counts.min():
        return ()
    largest, smallest = (source.class_names[index] for index in (counts.argmax(), counts.argmin()))
    return (
        f"{largest} has {counts.max():,} training images and {smallest} {counts.min():,}: "
        "try --class-weights sqrt or --sampler balanced, and look at the balanced accuracy",
    )
