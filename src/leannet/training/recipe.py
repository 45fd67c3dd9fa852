"""A recipe: everything that training depends on besides the network and the images."""

from __future__ import annotations

import dataclasses
import reprlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from leannet_runtime import UserError

__all__ = ["Recipe", "load_recipe", "recipe_names"]

LARGEST = 2**18  # characters: a recipe has a few thousand, and YAML is read slowly
LONGEST_NAME = 60  # characters of an unknown field that are told


@dataclass(frozen=True)
class Recipe:
    """Settings of one training, with timm's names; the docstring of a field is the help of its option."""

    epochs: int = 10
    """How often training goes through the images."""

    batch_size: int = 128
    """Images per step and process."""

    grad_accum_steps: int = 1
    """Steps whose gradients are added up before the weights change."""

    img_size: int | None = None
    """Side of the images in pixels; by default their own where they are small pictures, and 224 for photographs."""

    opt: str = "adamw"
    """Optimizer, by timm's name."""

    lr: float = 2e-3
    """Peak learning rate."""

    weight_decay: float = 0.05
    """Weight decay; biases and norms are spared, as timm does it."""

    momentum: float = 0.9
    """Momentum, for optimizers that have one."""

    sched: str = "cosine"
    """Schedule of the learning rate, by timm's name."""

    warmup_epochs: float = 1.0
    """Epochs in which the learning rate rises to its peak."""

    min_lr: float = 0.0
    """Learning rate at the end, for schedules that fall to one."""

    decay_epochs: float | None = None
    """Epochs between two falls of the learning rate, for the schedule step; 90 by default."""

    decay_rate: float = 0.1
    """Factor of such a fall."""

    smoothing: float = 0.1
    """Label smoothing."""

    mixup: float = 0.0
    """Alpha of mixup; 0 is off."""

    cutmix: float = 0.0
    """Alpha of CutMix; 0 is off, and with mixup each batch gets one of the two."""

    drop: float = 0.0
    """Dropout before the classifier."""

    clip_grad: float | None = None
    """Largest norm of the gradient; none by default."""

    model_ema: bool = False
    """Keep a moving average of the weights, and judge and save that."""

    model_ema_decay: float = 0.9998
    """How much of the average stays in each step; it begins with less."""

    amp: bool = False
    """Mixed precision: bfloat16 where the device has it, else float16."""

    class_weights: str = "none"
    """Weight of each class in the loss: none, balanced (inverse frequency) or sqrt (its square root)."""

    sampler: str = "shuffle"
    """shuffle, or balanced: draw images so that all classes come equally often."""

    pretrained: bool = False
    """Begin with published weights."""

    freeze: bool = False
    """Train the classifier only."""

    teacher: str | None = None
    """Model folder or timm name of a trained network to learn from (distillation)."""

    distill_alpha: float = 0.5
    """Share of the loss that compares with the teacher; the rest compares with the labels."""

    distill_temperature: float = 4.0
    """Temperature that softens both networks' probabilities for the comparison."""

    exits: str | None = None
    """Attach exits to the network: names of stages as in feature_info, with commas between, or auto."""

    exit_head: str = "simple"
    """What attached exits are made of: simple, linear, bottleneck (SD-ResNet's) or attention (SCAN's)."""

    exit_loss: str = "sum"
    """How exits learn: sum of their cross-entropies, self_distillation from the last exit, or scan."""

    exit_distill_alpha: float = 0.1
    """Share of the last exit's probabilities in what the exits before it learn."""

    exit_distill_temperature: float = 3.0
    """Temperature of that."""

    exit_feature_weight: float = 1e-6
    """Weight of the squared distance between the features of an exit and those of the last."""

    gate_alpha: float = 0.0
    """Weight of the loss that closes the gates of EMGNet (alpha of its equation 7)."""

    hflip: float = 0.5
    """Probability of a flip from left to right (never where that changes the label)."""

    padding: int = 4
    """Pixels by which small images are padded before a random crop."""

    scale_min: float = 0.35
    """Smallest share of a photograph that a random resized crop covers."""

    aa: str | None = None
    """Automatic augmentation: rand-m9-n2 (RandAugment), trivial, auto or augmix; none by default."""

    reprob: float = 0.0
    """Probability that a random rectangle is erased."""

    crop_pct: float | None = None
    """Share of the shorter side that is evaluated; by default 1.0 below 64 pixels and 0.875 from there on."""

    interpolation: str = "bicubic"
    """Filter with which images are resized."""

    small_input: bool | None = None
    """Total stride 8 instead of 32; by default for images below 64 pixels, alike for all networks."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, kind = getattr(self, field.name), str(field.type).removesuffix(" | None")
            if value is None and kind != field.type:
                continue
            if isinstance(value, bool) != (kind == "bool") or not isinstance(value, _KINDS[kind]):
                option = "--" + field.name.replace("_", "-")
                given = (
                    value if isinstance(value, str) else reprlib.repr(value)
                )  # nested lists may have no end in print
                raise UserError(f"{option} {given}", f"it must be {_WORDS[kind]}", "Choose another value")
        for name, low, high in _BOUNDS:
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                option = "--" + name.replace("_", "-")
                raise UserError(f"{option} {value}", f"it must be between {low} and {high}", "Choose another value")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                option, given = "--" + name.replace("_", "-"), " ".join(getattr(self, name).split())
                raise UserError(f"{option} {given[:LONGEST_NAME]}", "not known", f"Choose {' or '.join(choices)}")

    def override(self, **fields: Any) -> Recipe:
        """Return the recipe with other values in the fields that are not None."""
        return dataclasses.replace(self, **{name: value for name, value in fields.items() if value is not None})

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as they stand in a recipe file."""
        return dataclasses.asdict(self)


_KINDS: dict[str, Any] = {"int": int, "float": (int, float), "str": str, "bool": bool}
_WORDS = {
    "int": "a whole number",
    "float": "a number (in YAML, 2.0e-3 and not 2e-3)",
    "str": "a name",
    "bool": "true or false",
}

_BOUNDS = (
    ("epochs", 1, 100_000),
    ("batch_size", 2, 1_000_000),  # a batch norm has no statistics of one image
    ("grad_accum_steps", 1, 10_000),
    ("img_size", 4, 4096),
    ("lr", 1e-12, 1e3),
    ("weight_decay", 0, 10),
    ("momentum", 0, 1),
    ("warmup_epochs", 0, 100_000),
    ("min_lr", 0, 1e3),
    ("decay_epochs", 1e-3, 100_000),
    ("decay_rate", 0, 1),
    ("smoothing", 0, 0.999),
    ("mixup", 0, 100),
    ("cutmix", 0, 100),
    ("drop", 0, 0.999),
    ("clip_grad", 1e-12, 1e12),
    ("model_ema_decay", 0, 1),
    ("distill_alpha", 0, 1),
    ("distill_temperature", 1e-3, 1e3),
    ("exit_distill_alpha", 0, 1),
    ("exit_distill_temperature", 1e-3, 1e3),
    ("exit_feature_weight", 0, 1e3),
    ("gate_alpha", 0, 1e3),
    ("hflip", 0, 1),
    ("padding", 0, 64),
    ("scale_min", 0.01, 1),
    ("reprob", 0, 1),
)

_CHOICES = {
    "class_weights": ("none", "balanced", "sqrt"),
    "sampler": ("shuffle", "balanced"),
    "exit_head": ("simple", "linear", "bottleneck", "attention"),
    "exit_loss": ("sum", "self_distillation", "scan"),
}


def recipe_names() -> list[str]:
    """List the recipes that come with leannet."""
    folder = resources.files(__package__) / "recipes"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def parse_yaml(text: str, name: str) -> Any:
    """Return what a YAML text of a user, or of a stranger, says.

    Args:
        text: At most `LARGEST` characters.
        name: What errors call it.

    Raises:
        UserError: It is longer, or no YAML.
    """
    if len(text) > LARGEST:
        raise UserError(f"cannot read {name}", f"it has more than {LARGEST:,} characters", "Give a YAML file")
    try:
        return yaml.safe_load(text)
    except RecursionError as error:
        why = "its lists lie too deep within each other"
        raise UserError(f"cannot read {name}", why, "Correct the YAML") from error
    except Exception as error:  # of a value that is no date, or a key that is a list, PyYAML says it with other types
        why = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"cannot read {name}", why, "Correct the YAML") from error


def load_recipe(name: str) -> Recipe:
    """Read a recipe.

    Args:
        name: One of `recipe_names`, or the path of a YAML file with some of the fields of `Recipe`, at its top or
            under ``recipe``; the ``args.yaml`` of a run is one.

    Raises:
        UserError: There is no such recipe, or it has fields that no recipe has.
    """
    if name in recipe_names():
        text = (resources.files(__package__) / "recipes" / f"{name}.yaml").read_text(encoding="utf-8")
    else:
        try:
            with Path(name).open(encoding="utf-8") as file:
                text = file.read(LARGEST + 1)
        except UnicodeDecodeError as error:
            raise UserError(f"cannot read {name}", "it is not text in UTF-8", "Give a YAML file") from error
        except OSError as error:
            known = ", ".join(recipe_names())
            raise UserError(f"no recipe {name}", str(error.strerror), f"Give a YAML file or one of {known}") from error
    fields = parse_yaml(text, name) or {}
    # The args.yaml of a run, or a recipe that says where its values come from.
    if isinstance(fields, dict) and isinstance(fields.get("recipe"), dict):
        fields = fields["recipe"]
    known_fields = {field.name for field in dataclasses.fields(Recipe)}
    if not isinstance(fields, dict) or not set(fields) <= known_fields:
        unknown = "no fields at all"
        if isinstance(fields, dict):
            unknown = ", ".join(sorted(str(field)[:LONGEST_NAME] for field in set(fields) - known_fields))
            unknown = " ".join(unknown.split())
        raise UserError(f"cannot use recipe {name}", f"unknown: {unknown}", f"Known: {', '.join(sorted(known_fields))}")
    return Recipe(**fields)
