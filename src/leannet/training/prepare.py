"""From a source and a recipe to what the training loop takes; the same for every network that is compared."""

from __future__ import annotations

from dataclasses import dataclass, replace

from leannet.data import (
    Augmentation,
    EvalBatches,
    Pixels,
    Source,
    TrainBatches,
    load_pixels,
    training_storage,
    typical_side,
)
from leannet.training.recipe import Recipe
from leannet_runtime.preprocessing import Preprocessing

__all__ = ["PreparedData", "prepare_data", "settle_recipe"]

SMALL_PICTURE = 64
"""Images with a shorter side below this (in pixels) are small pictures, and are used at their own size."""

PHOTOGRAPH_SIZE = 224


@dataclass(frozen=True)
class PreparedData:
    """Images ready for training and judging.

    Args:
        source: Where they come from.
        recipe: With every size settled.
        preprocessing: Of the held-out images, and of every image the network will ever see.
        augmentation: Of the training images.
        train: Stored training images.
        held_out: Stored held-out images.
        notes: What the user should know.
    """

    source: Source
    recipe: Recipe
    preprocessing: Preprocessing
    augmentation: Augmentation
    train: Pixels
    held_out: Pixels
    notes: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.source.class_names)

    def train_batches(self, seed: int) -> TrainBatches:
        """Return the augmented batches of a seed."""
        return TrainBatches(self.train, self.augmentation, self.recipe.batch_size, seed=seed)

    def eval_batches(self) -> EvalBatches:
        """Return the held-out images in order."""
        return EvalBatches(self.held_out, self.preprocessing, max(self.recipe.batch_size, 128))


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


def prepare_data(source: Source, recipe: Recipe) -> PreparedData:
    """Decode the images of a source as a recipe says.

    Args:
        source: From `leannet.data.open_source`; its `reading` says what happens to damaged images.
        recipe: The settings.

    Returns:
        Images and settings; the recipe in it is settled.

    Raises:
        UserError: An image is damaged, or the recipe does not fit.
    """
    recipe = settle_recipe(recipe, source)
    assert recipe.img_size is not None
    assert recipe.crop_pct is not None
    preprocessing = Preprocessing(recipe.img_size, recipe.crop_pct, recipe.interpolation)
    storage = training_storage(source.splits["train"], preprocessing)
    train = load_pixels(source, "train", storage)
    held_out = load_pixels(source, source.held_out[0], preprocessing)
    photographs = storage.img_size > recipe.img_size
    augmentation = Augmentation(
        recipe.img_size,
        preprocessing.mean,
        preprocessing.std,
        hflip=recipe.hflip,
        padding=0 if photographs else recipe.padding,
        scale=(recipe.scale_min, 1.0) if photographs else None,
        reprob=recipe.reprob,
    )
    notes = (*source.notes, *train.notes, *held_out.notes)
    return PreparedData(source, recipe, preprocessing, augmentation, train, held_out, notes)
