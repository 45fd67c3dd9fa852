"""Reproductions that never were: the files that trainings and timings would have left."""

from __future__ import annotations

import dataclasses
import json

import yaml

from leannet.papers.tables import judge_claims, load_budget, load_experiment, make_plan, read_evidence
from leannet.papers.tables.timing import timing_request
from leannet.training.runs import RunSettings
from leannet.training.runs.judging import Judgement

CLASSES = {"cifar10": 10, "cifar100": 100, "imagenette": 10, "imagenet100": 100, None: 3}
TRAIN = {"cifar10": 50_000, "cifar100": 50_000, "imagenette": 9_469, "imagenet100": 126_689, None: 60}


def plan_of(paper, folder, budget="full"):
    return make_plan(load_experiment(paper), load_budget(budget), folder)


def verdict(plan, says, dataset="cifar10"):
    """Return the verdict on the claim that begins so."""
    found = judge_claims(read_evidence(plan))
    (one,) = [each for each in found if each.claim.says.startswith(says) and each.dataset == dataset]
    return one


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
    data = {
        "name": "somewhere",
        "classes": ["cat"],
        "fingerprint": fingerprint,
        "images": {"train": images, "test": 10_000},
        "img_size": 32,
    }
    environment = {"machine": {"processor": "Example", "cores": 2, "gpus": []}, "processes": 1, "data": data}
    (step.folder / "environment.json").write_text(json.dumps(environment))
    about = {"model": step.network, "seed": step.seed, "parameters": 2_000_000, "images_per_second": 100.0}
    results = {
        **about,
        "epochs": recipe.epochs,
        "macs": 1,
        "test": Judgement("test", correct, 10_000, 1.0, None).record(),
    }
    (step.folder / "results.json").write_text(json.dumps(results))


def write_times(plan, name, milliseconds, *, others=0.0, cold=(), copies=1):
    """Write a finished timing: lists of milliseconds by network."""
    place = plan.folder / "timing" / name
    place.mkdir(parents=True)
    lines = [f"{number},{network},{ms}" for network, all_ms in milliseconds.items() for number, ms in enumerate(all_ms)]
    (place / "rounds.csv").write_text("\n".join(["round,network,ms", *lines]) + "\n")
    table = {"backend": "eager", "device": "cpu", "threads": 1, "batch_size": 1, "warm_up_rounds": 9, "copies": copies}
    table["load"] = {"before": 0.1, "after": 0.2, "others": others}
    table["networks"] = [{"network": network, "stable": network not in cold} for network in milliseconds]
    (place / "results.json").write_text(json.dumps({"complete": True, "tables": [table]}))
    timing, _, device = name.rpartition("-")
    asked = timing_request(plan.experiment, plan.budget, timing_called(plan, timing), device)
    (place / "args.yaml").write_text(yaml.safe_dump(asked.arguments()))
    machine = {"processor": "Example", "gpus": ["Example GPU"]}
    (place / "environment.json").write_text(json.dumps({"machine": machine, "packages": {"torch": "2.14.1"}}))


def timing_called(plan, name):
    return next(timing for timing in plan.experiment.timings if timing.name == name)
