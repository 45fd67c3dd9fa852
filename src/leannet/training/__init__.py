"""Recipes, the training loop, checkpoints, runs and model folders."""

from leannet.training.devices import make_accelerator
from leannet.training.environment import environment
from leannet.training.evaluation import evaluate
from leannet.training.loop import EpochRecord, Position, Trainer, seed_everything, train_network
from leannet.training.model_folder import save_model_folder
from leannet.training.network import check_network, label_names, make_network, try_out
from leannet.training.optimizer import check_training
from leannet.training.prepare import PreparedData, prepare_data, settle_recipe
from leannet.training.recipe import Recipe, load_recipe, recipe_names
from leannet.training.saved_network import SavedNetwork, load_saved_network, run_name

__all__ = [
    "EpochRecord",
    "Position",
    "PreparedData",
    "Recipe",
    "SavedNetwork",
    "Trainer",
    "check_network",
    "check_training",
    "environment",
    "evaluate",
    "label_names",
    "load_recipe",
    "load_saved_network",
    "make_accelerator",
    "make_network",
    "prepare_data",
    "recipe_names",
    "run_name",
    "save_model_folder",
    "seed_everything",
    "settle_recipe",
    "train_network",
    "try_out",
]
