"""Reproductions that never were: the files that trainings and timings would have left."""

from __future__ import annotations

import dataclasses
import json

import yaml

from leannet.papers.tables import load_budget, load_experiment, make_plan
from leannet.training.runs import RunSettings
from leannet.training.runs.judging import Judgement

CLASSES = {"cifar10": 10, "cifar100": 100, "imagenette": 10, "imagenet100": 100, None: 3}
TRAIN = {"cifar10": 50_000, "cifar100": 50_000, "imagenette": 9_469, "imagenet100": 126_689, None: 60}


def plan_of(paper, folder, budget="full"):
    return make_plan(load_experiment(paper), load_budget(budget), folder)


def write_reproduction(plan, correct, *, dataset="cifar10", fingerprint="c0ffee", fields=()):
    """Write the state, and a run folder for each seed of the networks in `correct`: right answers of 10,000."""
    state = {
        "paper": plan.experiment.paper,
        "budget": plan.budget.as_dict(),
        "data": "somewhere",
        "dataset": dataset,
        "images": {"train": TRAIN[dataset], "test": 10_000},
        "fingerprint": fingerprint,
    }
    plan.folder.mkdir(parents=True, exist_ok=True)
    (plan.folder / "reproduction.yaml").write_text(yaml.safe_dump(state))
    for step in plan.steps:
        if step.network in correct:
            answers = correct[step.network]
            right = answers[step.seed] if isinstance(answers, tuple) else answers
            write_run(step, right, plan.budget.train_images or TRAIN[dataset], fingerprint, dict(fields))


def write_run(step, correct, images, fingerprint, fields):
    step.folder.mkdir(parents=True)
    recipe = dataclasses.replace(step.recipe, **fields)
    settings = RunSettings(model=step.network, data="somewhere", recipe=recipe, seed=step.seed)
    (step.folder / "args.yaml").write_text(yaml.safe_dump(settings.arguments()))
    data = {"fingerprint": fingerprint, "images": {"train": images, "test": 10_000}, "img_size": 32}
    environment = {"machine": {"processor": "Example", "cores": 2, "gpus": []}, "processes": 1, "data": data}
    (step.folder / "environment.json").write_text(json.dumps(environment))
    results = {"epochs": recipe.epochs, "macs": 1, "test": Judgement("test", correct, 10_000, 1.0).record()}
    (step.folder / "results.json").write_text(json.dumps(results))


def write_times(folder, name, milliseconds):
    """Write a finished timing: lists of milliseconds by network."""
    place = folder / "timing" / name
    place.mkdir(parents=True)
    lines = [f"{number},{network},{ms}" for network, all_ms in milliseconds.items() for number, ms in enumerate(all_ms)]
    (place / "rounds.csv").write_text("\n".join(["round,network,ms", *lines]) + "\n")
    (place / "results.json").write_text(json.dumps({"complete": True}))
