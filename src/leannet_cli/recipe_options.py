"""The options that are fields of a recipe, for every verb that trains; their help is where the fields are declared."""

from __future__ import annotations

import ast
import itertools
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["RECIPE_FIELDS", "given_fields"]


def recipe_help() -> dict[str, str]:
    """Return the docstring of each field of `leannet.training.Recipe`.

    The file is parsed, not imported: Python forgets the docstrings of fields, and importing leannet takes seconds.
    """
    package = find_spec("leannet")
    assert package is not None
    assert package.submodule_search_locations
    source = Path(package.submodule_search_locations[0]) / "training" / "recipe.py"
    tree = ast.parse(source.read_text(encoding="utf-8"))
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Recipe")
    return {
        field.target.id: ast.literal_eval(text.value)
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr)
    }


_HELP = recipe_help()
RECIPE_FIELDS = frozenset(_HELP)


def _option(field: str, *names: str) -> Any:
    return typer.Option(*names, help=_HELP[field])


Epochs = Annotated[int | None, _option("epochs")]
BatchSize = Annotated[int | None, _option("batch_size", "--batch-size", "-b")]
GradAccumSteps = Annotated[int | None, _option("grad_accum_steps")]
ImgSize = Annotated[int | None, _option("img_size", "--img-size", "--imgsz")]
LearningRate = Annotated[float | None, _option("lr")]
MinLearningRate = Annotated[float | None, _option("min_lr")]
Optimizer = Annotated[str | None, _option("opt")]
Momentum = Annotated[float | None, _option("momentum")]
Schedule = Annotated[str | None, _option("sched")]
DecayEpochs = Annotated[float | None, _option("decay_epochs")]
DecayRate = Annotated[float | None, _option("decay_rate")]
WarmupEpochs = Annotated[float | None, _option("warmup_epochs")]
WeightDecay = Annotated[float | None, _option("weight_decay")]
Smoothing = Annotated[float | None, _option("smoothing")]
Mixup = Annotated[float | None, _option("mixup")]
Cutmix = Annotated[float | None, _option("cutmix")]
AutoAugment = Annotated[str | None, _option("aa")]
RandomErase = Annotated[float | None, _option("reprob")]
Flip = Annotated[float | None, _option("hflip")]
Padding = Annotated[int | None, _option("padding")]
ScaleMin = Annotated[float | None, _option("scale_min")]
CropPct = Annotated[float | None, _option("crop_pct")]
Interpolation = Annotated[str | None, _option("interpolation")]
Drop = Annotated[float | None, _option("drop")]
ModelEma = Annotated[bool | None, _option("model_ema", "--model-ema/--no-model-ema")]
ModelEmaDecay = Annotated[float | None, _option("model_ema_decay")]
ClipGrad = Annotated[float | None, _option("clip_grad")]
MixedPrecision = Annotated[bool | None, _option("amp", "--amp/--no-amp")]
ClassWeights = Annotated[str | None, _option("class_weights")]
SamplerName = Annotated[str | None, _option("sampler")]
Pretrained = Annotated[bool | None, _option("pretrained", "--pretrained/--no-pretrained")]
Freeze = Annotated[bool | None, _option("freeze", "--freeze/--no-freeze")]
TeacherName = Annotated[str | None, _option("teacher")]
DistillAlpha = Annotated[float | None, _option("distill_alpha")]
DistillTemperature = Annotated[float | None, _option("distill_temperature")]
Exits = Annotated[str | None, _option("exits")]
ExitHeadName = Annotated[str | None, _option("exit_head")]
ExitLossName = Annotated[str | None, _option("exit_loss")]
ExitDistillAlpha = Annotated[float | None, _option("exit_distill_alpha")]
ExitDistillTemperature = Annotated[float | None, _option("exit_distill_temperature")]
ExitFeatureWeight = Annotated[float | None, _option("exit_feature_weight")]
GateAlpha = Annotated[float | None, _option("gate_alpha")]
SmallInput = Annotated[bool | None, _option("small_input", "--small-input/--no-small-input")]


def given_fields(context: typer.Context) -> dict[str, Any]:
    """Return the fields of the recipe that were given on the command line."""
    return {name: value for name, value in context.params.items() if name in RECIPE_FIELDS and value is not None}
