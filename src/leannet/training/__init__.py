"""Recipes, the training loop and model folders."""

from leannet.training.environment import environment
from leannet.training.loop import (
    EpochRecord,
    OnBatch,
    OnEpoch,
    check_training,
    evaluate,
    make_accelerator,
    seed_everything,
    train_network,
)
from leannet.training.model_folder import save_model_folder
from leannet.training.prepare import PreparedData, prepare_data, settle_recipe
from leannet.training.recipe import Recipe, load_recipe, recipe_names

__all__ = [
    "EpochRecord",
    "OnBatch",
    "OnEpoch",
    "PreparedData",
    "Recipe",
    "check_training",
    "environment",
    "evaluate",
    "load_recipe",
    "make_accelerator",
    "prepare_data",
    "recipe_names",
    "save_model_folder",
    "seed_everything",
    "settle_recipe",
    "train_network",
]
