"""What is still to be trained, and how long that will take: told before it is spent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from leannet.papers.tables.budget import Budget
from leannet.papers.tables.experiment import DATASETS, Experiment, trained_for
from leannet.training import Recipe, load_recipe

__all__ = ["Plan", "Step", "about_text", "make_plan"]

JUDGED_FASTER = 3
"""About so much faster than it is trained, an image is judged."""


@dataclass(frozen=True)
class Step:
    """One training."""

    network: str
    seed: int
    folder: Path
    recipe: Recipe
    seconds: float
    """About how long it takes on 2 cores at 32 pixels."""

    @property
    def finished(self) -> bool:
        """Whether its record is there; it is written last."""
        return (self.folder / "results.json").is_file()


@dataclass(frozen=True)
class Plan:
    """All trainings of a reproduction, seed by seed."""

    experiment: Experiment
    budget: Budget
    folder: Path
    steps: tuple[Step, ...]

    networks: tuple[str, ...]
    """Those that are wanted now, for some of the tables: the others are read where they are there, and not trained."""

    @property
    def wanted(self) -> tuple[Step, ...]:
        """The trainings of those networks."""
        return tuple(step for step in self.steps if step.network in self.networks)

    @property
    def left(self) -> tuple[Step, ...]:
        """Those of them without a record."""
        return tuple(step for step in self.wanted if not step.finished)

    @property
    def hours(self) -> float:
        """About how long those take."""
        return sum(step.seconds for step in self.left) / 3600

    def sentence(self, records_only: bool = False) -> str:
        """Say it in words.

        Args:
            records_only: Whether nothing is run.
        """
        left, budget = len(self.left), self.budget
        if not self.networks:
            return f"{self.experiment.paper}: these tables have no accuracy of their own, so that nothing is trained"
        recipe = self.steps[0].recipe
        images = "all" if budget.train_images is None else f"{budget.train_images:,}"
        return (
            f"{self.experiment.paper}, budget {budget.name}: {len(self.wanted)} trainings "
            f"({len(self.networks)} networks, {len(budget.seeds)} seed{'s' * (len(budget.seeds) > 1)}, "
            f"{recipe.epochs} epoch{'s' * (recipe.epochs != 1)} of {images} images), "
            + (f"{len(self.wanted) - left} recorded" if records_only else f"{left} to do, {self.duration}")
        )

    @property
    def duration(self) -> str:
        """About how long those take, in words."""
        return f"{about_text(3600 * self.hours)} on 2 cores with images of 32 px; times of networks come on top"


def about_text(seconds: float) -> str:
    """Say a guessed duration in words."""
    return f"about {seconds / 3600:.1f} h" if seconds >= 1800 else f"about {max(1, round(seconds / 60))} min"


def make_plan(experiment: Experiment, budget: Budget, folder: Path, tables: tuple[str, ...] | None = None) -> Plan:
    """Plan the trainings of a reproduction.

    Args:
        experiment: What is run for the paper.
        budget: How much of it.
        folder: The records of ours lie in ``NETWORK/seed-N`` below it.
        tables: Only the networks whose accuracy these tables print or their claims compare; all if None.
    """
    networks = experiment.networks if tables is None else trained_for(experiment, tables)
    usual = DATASETS["cifar10"]
    images, judged = budget.train_images or usual["train"], budget.test_images or usual["held_out"]
    steps = []
    for seed in budget.seeds:
        for network, name in experiment.recipes.items():
            recipe = load_recipe(name)
            recipe = recipe.override(**budget.changes(recipe))
            seconds = (recipe.epochs * images + judged / JUDGED_FASTER) / experiment.images_per_second[network]
            place = folder / network.replace("/", "_") / f"seed-{seed}"
            steps.append(Step(network, seed, place, recipe, seconds))
    return Plan(experiment, budget, folder, tuple(steps), networks)
