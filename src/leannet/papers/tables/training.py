"""The trainings of a reproduction: those that are missing are run, and go on where they were stopped."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml

from leannet.data import SPLIT_SEED, Source, open_source
from leannet.papers.tables.experiment import dataset_of
from leannet.papers.tables.plan import Plan, Step
from leannet.papers.tables.subset import write_subset
from leannet.report.html import keep_disagreements
from leannet.training import settle_recipe
from leannet.training.checkpoints import find_checkpoint
from leannet.training.runs import RunObserver, RunSettings, train
from leannet_runtime import UserError
from leannet_runtime.files import make_folder, write_text

__all__ = ["STATE", "TrainingObserver", "begin_without_data", "read_state", "run_trainings"]

STATE = "reproduction.yaml"

_FACTS = ("data", "dataset", "classes", "images", "fingerprint")


class TrainingObserver(Protocol):
    """Who is told how far a reproduction is."""

    def training(self, number: int, total: int, step: Step) -> contextlib.AbstractContextManager[RunObserver]:
        """A training begins or goes on; who is told how far it is."""

    def kept(self, step: Step) -> None:
        """The record of an earlier call is kept."""


@dataclass(frozen=True)
class _Opened:
    source: Source
    spec: str


def run_trainings(
    plan: Plan,
    data: str,
    observer: TrainingObserver,
    *,
    device: str = "auto",
    workers: int | None = None,
    classes: frozenset[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Run the trainings of a plan that have no record yet; a stopped one goes on where its checkpoint is.

    At the end small copies of images on which the networks disagree are kept.

    Args:
        plan: What is trained, and where the records lie.
        data: See `leannet.data.open_source`.
        observer: Told of every step.
        device: "auto", "cpu" or "cuda".
        workers: Threads or processes that decode.
        classes: Those that the data must have; any if None.
        progress: Told how many images are decoded.

    Raises:
        UserError: The data are not there or not fit, or the folder holds the records of another budget.
        Stopped: SIGINT or SIGTERM came; a checkpoint is written.
    """
    source = open_source(data, seed=SPLIT_SEED, workers=workers, progress=progress)
    if "test" not in source.splits:
        raise UserError(f"cannot use {data}", "it has no test part to judge on", "Name the held-out folder test")
    if classes is not None and set(source.class_names) != classes:
        some = ", ".join(sorted(classes)[:3])
        why = f"the points of the figure are of {len(classes)} other classes ({some}, ...)"
        raise UserError(f"cannot use {data}", why, "Name the data set of the figure")
    opened = _begin(plan, source, data)
    for number, step in enumerate(plan.wanted, start=1):
        if step.finished:
            observer.kept(step)
            continue
        settings = RunSettings(
            model=step.network,
            data=opened.spec,
            recipe=settle_recipe(step.recipe, opened.source),
            seed=step.seed,
            val_fraction=0.0,
            bad_images="error",
            device=device,
            workers=workers,
        )
        begun = (step.folder / "args.yaml").is_file()
        with observer.training(number, len(plan.wanted), step) as told:
            train(settings, step.folder, told, resume=find_checkpoint(step.folder) if begun else None)
    judged = source if opened.spec == data else open_source(opened.spec, seed=SPLIT_SEED, workers=workers)
    first = {step.network: step.folder for step in reversed(plan.steps) if step.finished}
    keep_disagreements(plan.folder, judged.splits["test"], judged.class_names, list(first.values()))


def read_state(folder: Path) -> dict[str, Any] | None:
    """Return what the records in a folder are records of; None if nothing was begun there.

    Raises:
        UserError: The file is damaged.
    """
    path = folder / STATE
    if not path.is_file():
        return None
    try:
        state = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(state, dict) or not {"paper", "budget", "dataset", "images", "fingerprint"} <= state.keys():
            raise ValueError("it lacks what it should say")
    except (OSError, UnicodeDecodeError, ValueError, yaml.YAMLError) as error:
        why = str(error).splitlines()[0]
        raise UserError(f"cannot use {path}", why, "Choose another folder") from error
    return state


def begin_without_data(plan: Plan) -> None:
    """Write down what is reproduced where nothing is trained, or make sure that it is the same as before.

    Raises:
        UserError: The folder holds the records of another budget, or a run of another kind.
    """
    _write_state(plan, {})


def _begin(plan: Plan, source: Source, data: str) -> _Opened:
    """Write down what is reproduced, or make sure that it is the same as before; and choose the images."""
    budget, folder = plan.budget, plan.folder
    facts = {
        "data": source.name,
        "dataset": dataset_of(source),
        "classes": len(source.class_names),
        "images": {"train": len(source.splits["train"]), "test": len(source.splits["test"])},
        "fingerprint": source.fingerprint,
    }
    _write_state(plan, facts)
    if budget.train_images is None and budget.test_images is None:
        return _Opened(source, data)
    chosen = folder / "data"
    if not (chosen / "test.parquet").is_file():  # written last
        write_subset(source, chosen, budget.train_images, budget.test_images)
    return _Opened(source, str(chosen))


def _write_state(plan: Plan, facts: dict[str, Any]) -> None:
    """Write down what is reproduced and on which data, or make sure that both are the same as before.

    Args:
        plan: What is reproduced.
        facts: Of the data; nothing if none are read, which fits to any.
    """
    folder = plan.folder
    state = {
        "paper": plan.experiment.paper,
        "budget": plan.budget.as_dict(),
        "recipes": {step.network: step.recipe.as_dict() for step in plan.steps},
    }
    earlier = read_state(folder)
    if earlier is None:
        make_folder(folder)
        if any((folder / name).exists() for name in ("args.yaml", "results.json", "config.json")):
            raise UserError(f"cannot write to {folder}", "a run of another kind lies in it", "Choose another --output")
        earlier = {**state, **dict.fromkeys(_FACTS)}
    told = {name: value for name, value in {**state, **facts}.items() if earlier["fingerprint"] or name in state}
    if different := [name for name in told if earlier.get(name) != told[name]]:
        said = ", ".join(_difference(name, earlier.get(name), told[name]) for name in different)
        raise UserError(f"{folder} holds records of another budget", f"other {said}", "Choose another --output")
    write_text(folder / STATE, yaml.safe_dump({**earlier, **facts}, sort_keys=False))


def _difference(name: str, before: Any, now: Any) -> str:
    if name == "budget" and isinstance(before, dict):
        return ", ".join(f"{key} ({before.get(key)}, now {now[key]})" for key in now if before.get(key) != now[key])
    short = isinstance(before, str | int | None) and isinstance(now, str | int | None)
    return f"{name} ({str(before)[:20]}, now {str(now)[:20]})" if short else name
