"""On which terms a training may stand for that of its paper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from leannet.papers.reproduce.drawings import Drawing
from leannet.papers.reproduce.records import TrainingRecord
from leannet.training import Recipe, load_recipe

__all__ = ["FREE_FIELDS", "FREE_OF_SINGLE_NETWORKS", "FREE_OF_SUMMED_LOSSES", "deviation", "deviations"]

FREE_FIELDS: Mapping[str, str] = {
    "epochs": "the length of a training is judged by itself",
    "amp": "how a step is computed, and not which",
    "distill_alpha": "the recipes have no teacher",
    "distill_temperature": "the recipes have no teacher",
    "model_ema_decay": "the recipes average no weights",
    "decay_epochs": "a cosine does not fall in steps",
    "decay_rate": "a cosine does not fall in steps",
    "exit_head": "the recipes attach no exits",
    "scale_min": "small pictures are padded and cropped, not resized",
    "interpolation": "small pictures are padded and cropped, not resized",
    "small_input": "the networks have no other form",
}
"""Fields of a recipe that are not compared, and why. The switches behind the reasons are themselves compared."""

FREE_OF_SUMMED_LOSSES = ("exit_distill_alpha", "exit_distill_temperature", "exit_feature_weight")
"""Not compared where exits learn by the sum of their losses."""

FREE_OF_SINGLE_NETWORKS = (*FREE_OF_SUMMED_LOSSES, "exit_loss", "gate_alpha")
"""Not compared of networks without exits."""


def deviations(record: TrainingRecord, drawing: Drawing) -> tuple[str, ...]:
    """Return in what a training does not follow the recipe of its paper; nothing if it does.

    Args:
        record: The training.
        drawing: The figure that it is for.

    Returns:
        A text for each field, as "lr is 0.2 instead of 0.1".
    """
    expected = load_recipe(drawing.recipes[record.network]).override(img_size=drawing.img_size, **drawing.changes)
    free = set(FREE_FIELDS)
    if None in record.points:
        free.update(FREE_OF_SINGLE_NETWORKS)
    elif expected.exit_loss == "sum":
        free.update(FREE_OF_SUMMED_LOSSES)
    compared = [
        (field.name, getattr(_with_crop(record.recipe), field.name), getattr(_with_crop(expected), field.name))
        for field in fields(Recipe)
        if field.name not in free
    ]
    compared += [
        ("weights", record.weights, None),
        ("processes", record.processes, 1),  # the batch size is that of one process
        ("epochs of the schedule", record.recipe.epochs, record.epochs),
    ]
    return tuple(f"{name} is {found} instead of {wanted}" for name, found, wanted in compared if found != wanted)


def deviation(record: TrainingRecord, drawing: Drawing) -> str:
    """Return the deviations of a training in one sentence without subject; empty if there is none."""
    found = deviations(record, drawing)
    return f"was not trained by the recipe {drawing.recipes[record.network]}: {', '.join(found)}" if found else ""


def _with_crop(recipe: Recipe) -> Recipe:
    """Return a recipe with the crop that it leaves open: small pictures are seen whole."""
    return recipe.override(crop_pct=1.0) if recipe.crop_pct is None else recipe
