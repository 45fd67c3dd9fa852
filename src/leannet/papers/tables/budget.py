"""How much of a reproduction is run: the budgets, which are data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any

import yaml

from leannet.training import Recipe
from leannet_runtime import UserError

__all__ = ["Budget", "budget_names", "load_budget"]


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What is cut from a paper's experiment; None is what the recipe and the data have."""

    name: str
    train_images: int | None
    test_images: int | None
    epochs: int | None
    batch_size: int | None
    seeds: tuple[int, ...]
    rounds: int
    """Of the times."""

    def changes(self, recipe: Recipe) -> dict[str, Any]:
        """Return the fields of a paper's recipe that this budget changes, with their values."""
        changed: dict[str, Any] = {}
        if self.epochs is not None and self.epochs != recipe.epochs:
            changed["epochs"] = self.epochs
            changed["warmup_epochs"] = recipe.warmup_epochs * self.epochs / recipe.epochs
        if self.batch_size is not None:
            changed["batch_size"] = self.batch_size
        return {name: value for name, value in changed.items() if value != getattr(recipe, name)}

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for YAML."""
        return {**asdict(self), "seeds": list(self.seeds)}


def _budgets() -> dict[str, dict[str, Any]]:
    text = (resources.files(__package__) / "budgets.yaml").read_text(encoding="utf-8")
    budgets: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return budgets


def budget_names() -> list[str]:
    """List the budgets, the smallest first."""
    return list(_budgets())


def load_budget(name: str) -> Budget:
    """Return a budget.

    Raises:
        UserError: There is none of this name.
    """
    budgets = _budgets()
    if name not in budgets:
        raise UserError(f"--budget {name}", "there is no such budget", f"Choose {', '.join(budgets)}")
    fields = budgets[name]
    return Budget(name=name, **{**fields, "seeds": tuple(fields["seeds"])})
