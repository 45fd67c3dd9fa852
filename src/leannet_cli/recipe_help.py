"""The help of recipe options, taken from where the fields of a recipe are declared."""

from __future__ import annotations

import ast
import itertools
from importlib.util import find_spec
from pathlib import Path

__all__ = ["recipe_help"]


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
