"""Which figures can be drawn again, and from which trainings."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from leannet.papers.published import load_paper
from leannet_runtime import UserError

__all__ = ["DRAWINGS", "Drawing", "dataset_title", "find_drawing"]


_TITLES = {
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "imagenet": "ImageNet",
    "imagenet100": "ImageNet100",
    "imagenette": "Imagenette",
}


def dataset_title(dataset: str) -> str:
    """Return the name of a data set for readers.

    Args:
        dataset: As the rows of the papers name it.
    """
    return _TITLES.get(dataset, dataset)


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A figure, and the trainings that it is drawn from. Its points are those that the paper has on the data set."""

    paper: str
    """Identifier of the paper."""

    number: int
    """Number of the figure."""

    dataset: str
    """The data set, as the rows of the paper name it."""

    class_names: frozenset[str]
    """Its classes, by which records on other images are told apart."""

    train_images: int
    """All images that it has for training."""

    img_size: int
    """Side of its images in pixels, the size at which they are used."""

    names: Mapping[str, str]
    """What each network is called in the figure, by its name in timm's registry."""

    recipes: Mapping[str, str]
    """The recipe of each network."""

    budget_source: str
    """Where the number of epochs in the recipes comes from."""

    changes: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the recipes that a budget changes."""

    seeds: tuple[int, ...] = ()
    """Of the budget; without one, those that both networks of a claim were trained with."""

    @property
    def dataset_title(self) -> str:
        """The name of the data set for readers."""
        return dataset_title(self.dataset)

    def training_command(self, network: str, folder: Path) -> str:
        """Return the command that makes the record of a network below a folder."""
        place = shlex.quote(str(folder / network))
        return f"leannet train {network} --recipe {self.recipes[network]} --data {self.dataset.upper()} -o {place}"


_RESNETS = {number: f"resnet{number}_cifar" for number in (20, 44, 56, 110)}

DRAWINGS = (
    Drawing(
        paper="emgnet",
        number=3,
        dataset="cifar10",
        class_names=frozenset(
            ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
        ),
        train_images=50_000,
        img_size=32,
        names={
            "emgnet56_cifar": "EMGNet",
            "sdresnet56_cifar": "SD-ResNet",
            "scanresnet56_cifar": "SCAN",
            **{name: f"ResNet-{number}" for number, name in _RESNETS.items()},
        },
        recipes={
            "emgnet56_cifar": "emgnet",
            "sdresnet56_cifar": "sd_resnet",
            "scanresnet56_cifar": "scan",
            **dict.fromkeys(_RESNETS.values(), "emgnet"),
        },
        budget_source="the public recipe of its baselines, for EMGNet prints none",
    ),
)
"""All of them."""


def find_drawing(paper: str, number: int) -> Drawing:
    """Return a figure that can be drawn again.

    Raises:
        UserError: There is no such paper, or none of its figures has this number.
    """
    load_paper(paper)
    for drawing in DRAWINGS:
        if (drawing.paper, drawing.number) == (paper, number):
            return drawing
    known = ", ".join(f"{drawing.paper} --figure {drawing.number}" for drawing in DRAWINGS)
    raise UserError(f"cannot reproduce figure {number} of {paper}", "it is not known how", f"Known: {known}")
