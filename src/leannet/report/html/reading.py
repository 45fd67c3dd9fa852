"""From a run folder to its records."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from leannet.report.html.records import Answers

__all__ = ["provenance", "read_answers", "read_arguments", "read_json", "read_table"]


def read_json(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file, an object.

    Raises:
        ValueError: It is something else.
        OSError: It cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name} is no JSON") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} is no record")
    return content


def read_arguments(folder: Path) -> dict[str, Any]:
    """Return the content of ``args.yaml``.

    Raises:
        ValueError: It is not one.
        OSError: It cannot be read.
    """
    try:
        arguments = yaml.safe_load((folder / "args.yaml").read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError("args.yaml is no YAML") from error
    if not isinstance(arguments, dict):
        raise ValueError("args.yaml holds no settings")
    return arguments


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file, none if there is no such file."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_answers(
    path: Path, network: str, seed: int | None, classes: Sequence[str], prefix: str = ""
) -> Answers | None:
    """Return what a network answered, None if no file says so.

    Args:
        path: A ``predictions.csv``.
        network: What the network is called.
        seed: Of its training.
        classes: Names of the classes.
        prefix: Of the columns of a second network: "other_".
    """
    rows = read_table(path)
    if not rows or f"{prefix}predicted" not in rows[0]:
        return None
    number = {name: index for index, name in enumerate(classes)}
    return Answers(
        network=network,
        seed=seed,
        images=tuple(row["image"] for row in rows),
        labels=np.array([number[row["label"]] for row in rows], np.int64),
        predicted=np.array([number[row[f"{prefix}predicted"]] for row in rows], np.int64),
        probability=np.array([float(row[f"{prefix}probability"]) for row in rows]),
    )


def provenance(folder: Path, arguments: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return how a run was made, in terms and texts; what is not known is left out.

    Args:
        folder: With ``environment.json``.
        arguments: Of the run.
    """
    path = folder / "environment.json"
    described = read_json(path) if path.is_file() else {}
    data, machine = described.get("data") or {}, described.get("machine") or {}
    images = data.get("images")
    counts = images.items() if isinstance(images, dict) else [(data.get("split"), images)] if images else []
    seeds = described.get("seeds", described.get("seed", arguments.get("seed")))
    facts: list[tuple[str, Any, Callable[[Any], str]]] = [
        ("command", described.get("command"), str),
        ("leannet", described.get("leannet"), str),
        ("commit", described.get("commit"), str),
        ("data", data.get("location"), str),
        ("SHA-256 of the data", data.get("fingerprint"), str),
        ("images", list(counts), lambda parts: ", ".join(f"{part} {count:,}" for part, count in parts)),
        ("image size", data.get("img_size"), lambda size: f"{size} px"),
        ("seeds", [seeds] if isinstance(seeds, int) else seeds, lambda all: ", ".join(map(str, all))),
        ("machine", machine, _machine_text),
        ("Python", described.get("python"), str),
        ("packages", described.get("packages"), _pairs),
        ("recipe", arguments.get("recipe"), _pairs),
        ("notes", data.get("notes"), "; ".join),
        ("trained otherwise", _trained_otherwise(folder, described), "; ".join),
    ]
    return tuple((term, text(value)) for term, value, text in facts if value or value == 0)


def _trained_otherwise(folder: Path, described: Mapping[str, Any]) -> list[str]:
    """Return which trainings of a comparison were made by another version or machine than its last one, in words."""
    found = []
    for path in sorted((folder / "networks").glob("*/seed-*/environment.json")):
        own = read_json(path)
        different = [name for name in ("leannet", "commit", "python") if own.get(name) != described.get(name)]
        facts = [f"{name} {own.get(name)}" for name in different]
        if own.get("packages") != described.get("packages"):
            facts.append(_pairs(own.get("packages") or {}))
        if own.get("machine") != described.get("machine"):
            facts.append(_machine_text(own.get("machine") or {}))
        if facts:
            found.append(f"{path.parent.parent.name}, {path.parent.name}: {', '.join(facts)}")
    return found


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)


def _machine_text(machine: Mapping[str, Any]) -> str:
    counts = [
        f"{count} {name}{'s' * (count != 1)}" for name in ("core", "thread") if (count := machine.get(f"{name}s"))
    ]
    instructions = machine.get("instructions")
    known = [*machine.get("gpus", []), machine.get("processor"), instructions, *counts, machine.get("system")]
    return ", ".join(str(part) for part in known if part)
