"""Every recipe that ships: read, complete about where its values come from, and able to train."""

import dataclasses
import math
from importlib import resources

import pytest
import torch
import yaml
from noise import CLASSES, SIDE, pixels

from leannet import create_network
from leannet.data import Augmentation, TrainBatches
from leannet.training import Recipe, Trainer, load_recipe, make_accelerator, recipe_names, seed_everything

FIELDS = {field.name for field in dataclasses.fields(Recipe)}


def written(name):
    return yaml.safe_load((resources.files("leannet.training") / "recipes" / f"{name}.yaml").read_text("utf-8"))


PAPERS = [name for name in recipe_names() if "source" in written(name)]


def test_recipes_are_found():
    assert {"default", "digits", "dmp", "finetune", "quick"} <= set(recipe_names())
    assert {"cse", "dmp", "emgnet", "scan", "sd_resnet", "sm_v2"} <= set(PAPERS)


@pytest.mark.parametrize("name", recipe_names())
def test_its_values_are_those_of_the_file(name):
    fields = written(name)
    fields = fields["recipe"] if name in PAPERS else fields
    assert fields
    recipe = load_recipe(name)
    assert {field: getattr(recipe, field) for field in fields} == fields
    defaults = Recipe()
    others = FIELDS - set(fields)
    assert {field: getattr(recipe, field) for field in others} == {field: getattr(defaults, field) for field in others}


@pytest.mark.parametrize("name", PAPERS)
def test_each_value_of_a_paper_is_printed_or_decided(name):
    text = written(name)
    assert set(text) == {"source", "printed", "decided", "recipe"}
    assert len(text["source"]) > 20
    printed, decided = text["printed"], text["decided"]
    assert len(printed) == len(set(printed))
    assert not set(printed) & set(decided)
    assert {*printed, *decided} == set(text["recipe"])
    assert all(isinstance(reason, str) and len(reason) >= 10 for reason in decided.values())


def test_a_paper_states_everything_that_its_training_depends_on():
    """What a recipe leaves to the defaults is no decision that anybody could read."""
    essential = {"opt", "lr", "sched", "epochs", "batch_size", "weight_decay", "smoothing", "warmup_epochs", "hflip"}
    for name in PAPERS:
        assert essential <= set(written(name)["recipe"]), name


def test_duplicate_max_pooling_is_what_its_paper_prints():
    """Section 4: Adam, an initial learning rate of 0.01, cosine annealing, cross-entropy."""
    recipe = load_recipe("dmp")
    assert (recipe.opt, recipe.lr, recipe.sched, recipe.smoothing) == ("adam", 0.01, "cosine", 0.0)
    assert written("dmp")["printed"] == ["opt", "lr", "sched", "smoothing"]
    trainer = trainer_of(recipe.override(batch_size=6))
    assert isinstance(trainer._bare_optimizer, torch.optim.Adam)
    assert not isinstance(trainer._bare_optimizer, torch.optim.AdamW)
    rates = []
    for epoch in (0, 50, 100, 150, 199):
        trainer.scheduler.step_update(epoch * trainer.updates_per_epoch)
        rates.append(trainer._bare_optimizer.param_groups[0]["lr"])
    expected = [0.005 * (1 + math.cos(math.pi * epoch / 200)) for epoch in (0, 50, 100, 150, 199)]
    assert rates == pytest.approx(expected)


def trainer_of(recipe):
    seed_everything(0)
    network = create_network("test_efficientnet", num_classes=CLASSES, img_size=SIDE)
    augmentation = Augmentation(SIDE, hflip=recipe.hflip, padding=recipe.padding, reprob=recipe.reprob, aa=recipe.aa)
    batches = TrainBatches(pixels(12), augmentation, recipe.batch_size, seed=0)
    return Trainer(network, batches, recipe, CLASSES, make_accelerator("cpu"))


@pytest.mark.parametrize("name", recipe_names())
def test_two_updates(name):
    """Both happen, nearly every weight moves, and everything stays finite."""
    trainer = trainer_of(load_recipe(name).override(epochs=2, batch_size=6, img_size=SIDE))
    before = {key: tensor.clone() for key, tensor in trainer.network.named_parameters()}
    positions = []
    record = trainer.run_epoch(lambda position: positions.append(position.updates))
    assert positions == [1, 2]
    assert 0 < record.loss < 10
    moved = [key for key, tensor in trainer.network.named_parameters() if not tensor.equal(before[key])]
    assert len(moved) > 0.9 * len(before)
    assert all(tensor.isfinite().all() for tensor in trainer.judged.state_dict().values())
