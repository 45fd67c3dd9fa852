"""Trainings that may not stand for those of a paper, and counts of MACs that are not its own."""

from __future__ import annotations

import json

import pytest
from emgnet_records import CORRECT, MEASURED, write_record, write_records

from leannet.papers.reproduce import RULE, comparisons, find_drawing, reproduce_figure
from leannet.papers.reproduce.terms import FREE_FIELDS, FREE_OF_SINGLE_NETWORKS, FREE_OF_SUMMED_LOSSES
from leannet.training import Recipe, load_recipe

BUDGET = {"epochs": 200, "images": 50_000}
SEEDS = (0, 1)

# A field of each kind, and what is said of it.
OTHER_FIELDS = [
    ({"batch_size": 64}, "batch_size is 64 instead of 128"),
    ({"grad_accum_steps": 2}, "grad_accum_steps is 2 instead of 1"),
    ({"opt": "adamw"}, "opt is adamw instead of sgd"),
    ({"lr": 1e-6}, "lr is 1e-06 instead of 0.1"),
    ({"weight_decay": 0.05}, "weight_decay is 0.05 instead of 0.0005"),
    ({"momentum": 0.0}, "momentum is 0.0 instead of 0.9"),
    ({"sched": "step"}, "sched is step instead of cosine"),
    ({"warmup_epochs": 5}, "warmup_epochs is 5 instead of 0"),
    ({"min_lr": 0.01}, "min_lr is 0.01 instead of 0.0"),
    ({"smoothing": 0.1}, "smoothing is 0.1 instead of 0.0"),
    ({"mixup": 0.2}, "mixup is 0.2 instead of 0.0"),
    ({"cutmix": 1.0}, "cutmix is 1.0 instead of 0.0"),
    ({"drop": 0.2}, "drop is 0.2 instead of 0.0"),
    ({"clip_grad": 1.0}, "clip_grad is 1.0 instead of None"),
    ({"model_ema": True}, "model_ema is True instead of False"),
    ({"class_weights": "sqrt"}, "class_weights is sqrt instead of none"),
    ({"sampler": "balanced"}, "sampler is balanced instead of shuffle"),
    ({"pretrained": True}, "pretrained is True instead of False"),
    ({"freeze": True}, "freeze is True instead of False"),
    ({"teacher": "resnet56"}, "teacher is resnet56 instead of None"),
    ({"exits": "auto"}, "exits is auto instead of None"),
    ({"exit_loss": "scan"}, "exit_loss is scan instead of self_distillation"),
    ({"exit_distill_alpha": 0.9}, "exit_distill_alpha is 0.9 instead of 0.1"),
    ({"exit_distill_temperature": 1.0}, "exit_distill_temperature is 1.0 instead of 3.0"),
    ({"exit_feature_weight": 1.0}, "exit_feature_weight is 1.0 instead of 1e-06"),
    ({"gate_alpha": 1.0}, "gate_alpha is 1.0 instead of 0.0"),
    ({"hflip": 0.0}, "hflip is 0.0 instead of 0.5"),
    ({"padding": 0}, "padding is 0 instead of 4"),
    ({"aa": "trivial"}, "aa is trivial instead of None"),
    ({"reprob": 0.25}, "reprob is 0.25 instead of 0.0"),
    ({"crop_pct": 0.875}, "crop_pct is 0.875 instead of 1.0"),
]


def reproduce(folder):
    return reproduce_figure(find_drawing("emgnet", 3), folder)


def on_cifar10(reproduction):
    """Return the verdicts on CIFAR-10, by the network that EMGNet is held against."""
    return {verdict.claim.against: verdict for verdict in reproduction.verdicts if verdict.dataset == "cifar10"}


def with_record(root, network, **changes):
    """Write records that confirm what EMGNet's accuracy is claimed to be, but for what changes in one of them."""
    correct = CORRECT | {"scanresnet56_cifar": (5000, 6600, 6800, 6900)}
    for name in correct:
        for seed in SEEDS:
            changed = BUDGET | changes if name == network else BUDGET
            write_record(root, name, correct[name], name=f"{name}/{seed}", seed=seed, **changed)
    return root


def refused(verdict, reason):
    assert (verdict.word, verdict.comparisons) == ("not testable", ())
    assert reason in verdict.reason


@pytest.mark.parametrize(
    ("fields", "said"), OTHER_FIELDS, ids=lambda value: "".join(value) if isinstance(value, dict) else ""
)
def test_another_recipe_is_refused_by_the_name_of_its_field(tmp_path, fields, said):
    found = reproduce(with_record(tmp_path, "sdresnet56_cifar", fields=fields))
    reason = f"was not trained by the recipe sd_resnet: {said}"
    refused(on_cifar10(found)["sdresnet56_cifar"], f"SD-ResNet of seed 0 {reason}")
    assert on_cifar10(found)["scanresnet56_cifar"].word == "confirmed"
    assert found.notes == tuple(f"{tmp_path}/sdresnet56_cifar/{seed} {reason}" for seed in SEEDS)


def test_each_field_of_a_recipe_is_either_free_or_refused():
    """A field that a recipe gains must be put into one of the two lists."""
    refusing = {name for fields, _ in OTHER_FIELDS for name in fields}
    assert refusing | set(FREE_FIELDS) | {"img_size"} == set(Recipe().as_dict())
    assert not refusing & set(FREE_FIELDS)
    rule = " ".join(RULE.values())
    assert all(name in rule for name in (*FREE_FIELDS, *FREE_OF_SINGLE_NETWORKS, *FREE_OF_SUMMED_LOSSES))


@pytest.mark.parametrize("name", ["emgnet", "sd_resnet", "scan"])
def test_what_makes_the_free_fields_free_is_off_in_the_recipes(name):
    recipe = load_recipe(name)
    assert (recipe.teacher, recipe.model_ema, recipe.sched, recipe.exits) == (None, False, "cosine", None)
    assert (recipe.exit_loss == "sum") == (name == "emgnet")


def test_free_fields_may_differ(tmp_path):
    others = {"amp": True, "distill_alpha": 0.1, "distill_temperature": 1.0, "model_ema_decay": 0.5, "decay_rate": 0.5}
    others |= {"decay_epochs": 3.0, "exit_head": "linear", "scale_min": 0.5, "interpolation": "bilinear"}
    others |= {"small_input": True, "img_size": 32, "crop_pct": 1.0}
    found = reproduce(with_record(tmp_path, "scanresnet56_cifar", fields=others))
    assert set(others) | {"epochs"} == set(FREE_FIELDS) | {"img_size", "crop_pct"}
    assert (on_cifar10(found)["scanresnet56_cifar"].word, found.notes) == ("confirmed", ())


@pytest.mark.parametrize(
    ("network", "changes", "said"),
    [
        ("emgnet56_cifar", {"recipe": "scan"}, "exit_loss is scan instead of sum, gate_alpha is 0.0 instead of 0.0001"),
        # What only a distilling loss reads is not compared.
        (
            "emgnet56_cifar",
            {"fields": {"gate_alpha": 1.0, "exit_distill_alpha": 0.9}},
            "gate_alpha is 1.0 instead of 0",
        ),
        ("resnet20_cifar", {"recipe": "cse"}, "lr is 0.05 instead of 0.1, weight_decay is"),
        # Recipes that differ in nothing but exits and gates are one recipe for a network without.
        ("resnet20_cifar", {"recipe": "sd_resnet"}, None),
        ("resnet20_cifar", {"recipe": "scan"}, None),
    ],
)
def test_each_network_follows_the_recipe_of_its_paper(tmp_path, network, changes, said):
    found = reproduce(with_record(tmp_path, network, **changes))
    verdict = on_cifar10(found)["resnet20_cifar"]
    if said is None:
        assert (verdict.word, found.notes) == ("holds for our layouts", ())
    else:
        refused(verdict, f"was not trained by the recipe emgnet: {said}")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"img_size": 64}, "img_size is 64 instead of 32"),
        ({"fields": {"img_size": 64}, "img_size": 64}, "img_size is 64 instead of 32"),
        ({"weights": "w.safetensors"}, "weights is w.safetensors instead of None"),
        ({"processes": 4}, "processes is 4 instead of 1"),
        ({"fields": {"epochs": 300}}, "epochs of the schedule is 300 instead of 200"),
    ],
)
def test_what_is_no_field_of_a_recipe_is_refused_too(tmp_path, changes, said):
    found = reproduce(with_record(tmp_path, "emgnet56_cifar", **changes))
    refused(on_cifar10(found)["scanresnet56_cifar"], said)


def test_other_images_are_refused(tmp_path):
    found = on_cifar10(reproduce(with_record(tmp_path, "sdresnet56_cifar", fingerprint="decaf")))
    refused(found["sdresnet56_cifar"], "different images: the data's fingerprint is c0ffee and decaf")
    assert found["scanresnet56_cifar"].word == "confirmed"


def test_macs_on_imagenet_are_counted_and_are_not_those_of_the_plot(tmp_path):
    by_against = {verdict.claim.against: verdict for verdict in reproduce(write_records(tmp_path)).verdicts[-2:]}
    # Read off the plot: 0.9, 1.45, 2.0 G; 2.3, 3.9, 5.5 G; 4.8, 9.7, 14.9 G.
    emgnet = (
        "emgnet50 exit 1 765.1 to 815.7 M for 900 M, emgnet50 exit 2 1,354.0 to 1,420.2 M for 1,450 M, "
        "emgnet50 exit 3 1,660.2 to 1,730.7 M for 2,000 M, "
    )
    for name, last, others in (
        ("sdresnet50", -63.65, "sdresnet50 exit 3 4,761.2 M for 5,500 M"),
        (
            "scanresnet50",
            -74.48,
            "scanresnet50 exit 1 3,177.2 M for 4,800 M, scanresnet50 exit 2 5,969.8 M for 9,700 M",
        ),
    ):
        verdict = by_against[name]
        *exits, mean = verdict.comparisons
        assert verdict.word == "holds for our layouts"
        assert f"these counts of ours are not the plotted ones: {emgnet}{others}" in verdict.reason
        assert [comparison.where for comparison in exits] == ["exit 1", "exit 2", "exit 3"]
        assert all(comparison.low < comparison.high < verdict.claim.printed[0] for comparison in exits)
        assert mean.value == pytest.approx(sum(comparison.value for comparison in exits) / 3)
        assert exits[2].value == pytest.approx(last, abs=0.01)


@pytest.mark.parametrize(
    ("emgnet", "word"),
    [
        (((0.9, 1.45, 2.0), (0.9, 1.45, 2.0)), "confirmed"),
        (((0.5, 1.0, 1.0), (0.918, 1.479, 2.04)), "confirmed"),  # the ends of what can be read
        (((0.5, 1.0, 2.041), (0.918, 1.479, 2.041)), "holds for our layouts"),
        (((0.5, 1.0, 1.0), (0.881, 1.479, 2.04)), "holds for our layouts"),
        (((0.9, 1.45, 2.0), (1.8, 1.45, 2.0)), "not confirmed"),
        (((0.95, 1.45, 2.0), (1.8, 1.45, 2.0)), "does not hold for our layouts"),
    ],
)
def test_macs_decide_a_claim_only_where_every_count_is_the_plotted_one(tmp_path, monkeypatch, emgnet, word):
    counts = {"emgnet50": emgnet, "sdresnet50": ((2.3, 3.9, 5.5),) * 2, "scanresnet50": ((4.8, 9.7, 14.9),) * 2}
    counted = {name: tuple(tuple(value * 1e9 for value in part) for part in both) for name, both in counts.items()}
    monkeypatch.setattr(comparisons, "_count", lambda name, *_: counted[name])
    assert reproduce(write_records(tmp_path)).verdicts[-2].word == word


def test_macs_that_pair_an_exit_with_a_single_network_must_be_the_plotted_ones(tmp_path):
    """Plotted are 45 M of the first exit and 41 M of ResNet-20, each within 2 %."""
    with_record(tmp_path, "")
    files = [tmp_path / "emgnet56_cifar" / f"{seed}" / "results.json" for seed in SEEDS]
    content = json.loads(files[0].read_text())
    verdict = on_cifar10(reproduce(tmp_path))["resnet20_cifar"]
    assert verdict.word == "holds for our layouts"
    assert verdict.reason.endswith("not the plotted ones: emgnet56_cifar exit 2 41.0 M for 61 M")
    content["test"]["exits"]["exit1"] = content["test"]["exits"]["exit3"]
    for first, word in ((44_200_000, "confirmed"), (44_000_000, "holds for our layouts")):
        content["exit_macs"]["measured"] = (first, 61_000_000, MEASURED[2])
        for file in files:
            file.write_text(json.dumps(content))
        assert on_cifar10(reproduce(tmp_path))["resnet20_cifar"].word == word
