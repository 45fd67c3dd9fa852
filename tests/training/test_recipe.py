"""Recipes: those that ship, their bounds, and reading them."""

import dataclasses

import pytest
import timm
import torch
import yaml
from noise import CLASSES, train_batches

from leannet import UserError
from leannet.training import Recipe, Trainer, load_recipe, make_accelerator, recipe_names, train_network
from leannet_cli.recipe_options import recipe_help


@pytest.mark.parametrize("name", recipe_names())
def test_a_shipped_recipe_trains(name):
    recipe = load_recipe(name).override(epochs=1)
    torch.manual_seed(0)
    model = timm.create_model("resnet20_cifar", num_classes=CLASSES)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    records = []
    train_network(Trainer(model, train_batches(), recipe, CLASSES, make_accelerator("cpu")), on_epoch=records.append)
    assert [record.epoch for record in records] == [1]
    assert 0 < records[0].loss < 10
    assert any(not before[key].equal(tensor) for key, tensor in model.state_dict().items())
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())


def test_the_recipes_that_the_command_line_names_are_there():
    assert {"default", "digits"} <= set(recipe_names())


BOUNDS = {
    "epochs": (1, 0),
    "batch_size": (2, 1),
    "img_size": (4, 3),
    "lr": (1e-12, 0.0),
    "weight_decay": (0.0, -0.1),
    "momentum": (1.0, 1.1),
    "warmup_epochs": (0.0, -1.0),
    "smoothing": (0.0, 1.0),
    "mixup": (0.0, -0.1),
    "drop": (0.0, 1.0),
    "hflip": (1.0, 1.5),
    "padding": (64, 65),
    "scale_min": (1.0, 0.0),
    "reprob": (1.0, 2.0),
}


@pytest.mark.parametrize("field", BOUNDS)
def test_bounds(field):
    good, bad = BOUNDS[field]
    assert getattr(Recipe(**{field: good}), field) == good
    with pytest.raises(UserError) as caught:
        Recipe(**{field: bad})
    assert caught.value.what == f"--{field.replace('_', '-')} {bad}"
    assert caught.value.why.startswith("it must be between")


def test_override_leaves_what_is_none():
    recipe = Recipe(epochs=3, hflip=0.5)
    assert recipe.override(epochs=None, hflip=0.0, lr=0.1) == Recipe(epochs=3, hflip=0.0, lr=0.1)
    with pytest.raises(UserError, match="--epochs 0"):
        recipe.override(epochs=0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.epochs = 4


def test_a_recipe_is_read_back_as_it_was_written(tmp_path):
    recipe = Recipe(epochs=3, lr=1e-5, small_input=False, clip_grad=1.0)
    path = tmp_path / "args.yaml"
    path.write_text(yaml.safe_dump(recipe.as_dict()))
    assert load_recipe(str(path)) == recipe
    path.write_text(yaml.safe_dump({"networks": ["a"], "data": "digits", "recipe": recipe.as_dict()}))
    assert load_recipe(str(path)) == recipe


def test_what_a_file_leaves_out_has_its_default(tmp_path):
    (tmp_path / "few.yaml").write_text("epochs: 3\n")
    assert load_recipe(str(tmp_path / "few.yaml")) == Recipe(epochs=3)
    (tmp_path / "none.yaml").write_text("# nothing\n")
    assert load_recipe(str(tmp_path / "none.yaml")) == Recipe()


def test_every_field_has_a_help_text():
    texts = recipe_help()
    assert list(texts) == [field.name for field in dataclasses.fields(Recipe)]
    assert all(text.endswith(".") for text in texts.values())
