"""Run folders of trainings that never were, in the form in which a training writes them."""

from __future__ import annotations

import json

import yaml

from leannet.training import load_recipe
from leannet.training.runs import RunSettings
from leannet.training.runs.judging import Judgement

CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
EXITS = ("exit1", "exit2", "exit3", "ensemble")

# Correct answers of 10,000: of each exit and of the ensemble, or of a single network.
CORRECT = {
    "emgnet56_cifar": (6100, 6800, 7000, 7050),
    "sdresnet56_cifar": (5200, 6550, 6800, 6850),
    "scanresnet56_cifar": (5000, 6600, 6950, 6900),
    "resnet20_cifar": 6500,
    "resnet44_cifar": 6700,
    "resnet56_cifar": 6750,
    "resnet110_cifar": 6600,
}
RECIPES = {"sdresnet56_cifar": "sd_resnet", "scanresnet56_cifar": "scan"}  # of all others: emgnet
MACS = {
    "emgnet56_cifar": (25_478_720, 46_062_720, 63_523_520),
    "sdresnet56_cifar": (43_500_160, 85_181_696, 126_601_088),
    "scanresnet56_cifar": (63_947_392, 112_772_352, 154_191_744),
    "resnet20_cifar": 40_813_184,
    "resnet44_cifar": 97_436_288,
    "resnet56_cifar": 125_747_840,
    "resnet110_cifar": 253_149_824,
}
CLOSED = (19_580_480, 37_215_360, 53_201_600)
MEASURED = (22_000_000.5, 41_000_000.25, 58_000_000.75)


def write_record(
    root,
    network,
    correct,
    *,
    epochs=3,
    seed=0,
    images=45_000,
    name=None,
    classes=CIFAR10,
    recipe=None,
    fields=(),
    weights=None,
    fingerprint="c0ffee",
    processes=1,
    img_size=32,
):
    """Write one run folder and return it; `fields` are of the recipe, by default that of the network's paper."""
    folder = root / (name or network)
    folder.mkdir(parents=True)
    followed = load_recipe(recipe or RECIPES.get(network, "emgnet")).override(**{"epochs": epochs, **dict(fields)})
    settings = RunSettings(model=network, data="data/cifar10", recipe=followed, seed=seed, weights=weights)
    (folder / "args.yaml").write_text(yaml.safe_dump(settings.arguments()))
    environment = {
        "command": f"leannet train {network}",
        "leannet": "0.1.0",
        "commit": "0123456789abcdef",
        "packages": {"torch": "2.14.1"},
        "machine": {"processor": "Example <CPU>", "cores": 2, "gpus": []},
        "processes": processes,
        "data": {
            "name": "cifar10",
            "fingerprint": fingerprint,
            "classes": classes,
            "images": {"train": images, "test": 10_000},
            "img_size": img_size,
        },
    }
    (folder / "environment.json").write_text(json.dumps(environment))
    with_exits = isinstance(correct, tuple)
    exits = dict(zip(EXITS, correct, strict=True)) if with_exits else {}
    judgement = Judgement("test", correct[2] if with_exits else correct, 10_000, 1.0, None, exits)
    macs = MACS.get(network, 1_000_000)
    results = {"model": network, "seed": seed, "epochs": epochs, "test": judgement.record()}
    results |= {"parameters": 1_000_000, "macs": 1 if with_exits else macs, "images_per_second": 100.0}
    if with_exits:
        results["exit_macs"] = {"closed": macs, "open": macs}
    if network == "emgnet56_cifar":
        results["exit_macs"] = {"closed": CLOSED, "open": macs, "measured": MEASURED, "measured_on": "test"}
    (folder / "results.json").write_text(json.dumps(results))
    return folder


def write_records(root, without=(), **changes):
    """Write a run folder for each network of the figure and return their folder."""
    for network, correct in CORRECT.items():
        if network not in without:
            write_record(root, network, correct, **changes)
    return root
