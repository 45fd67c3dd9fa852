"""A reproduction run for real on the digits: stopped, resumed, kept, and not mixed with another."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import signal

import numpy as np
import pytest
import yaml
from safetensors.torch import load_file

from leannet.data import SPLIT_SEED, open_source
from leannet.papers.tables import load_budget, load_experiment, make_plan, read_evidence, run_trainings
from leannet.papers.tables.files import tables_page
from leannet.papers.tables.subset import first_of_each_class, write_subset
from leannet.papers.tables.training import begin_without_data
from leannet.training.runs import Stopped
from leannet_runtime import UserError

NETWORKS = ("resnet20_cifar", "test_efficientnet")
BUDGET = dataclasses.replace(
    load_budget("smoke"), train_images=60, test_images=30, epochs=2, batch_size=20, seeds=(0,), rounds=2
)


class Silent:
    """Hears everything, says nothing, and asks to stop after so many updates."""

    def __init__(self, stop_after=None):
        self.begun, self.kept_steps, self.updates, self.stop_after = [], [], 0, stop_after

    @contextlib.contextmanager
    def training(self, _number, _total, step):
        self.begun.append(step.network)
        yield self

    def kept(self, step):
        self.kept_steps.append(step.network)

    def update_done(self, _position):
        self.updates += 1
        if self.updates == self.stop_after:
            signal.raise_signal(signal.SIGINT)

    def __getattr__(self, name):
        return lambda *_: None


def plan_of(folder, budget=BUDGET):
    experiment = dataclasses.replace(
        load_experiment("dmp"),
        recipes=dict.fromkeys(NETWORKS, "dmp"),
        images_per_second=dict.fromkeys(NETWORKS, 100.0),
        timings=(),
    )
    return make_plan(experiment, budget, folder)


def weights(plan):
    return [load_file(step.folder / "best" / "model.safetensors") for step in plan.steps]


def test_a_stopped_reproduction_goes_on_and_ends_as_if_it_had_not_been(tmp_path):
    whole, stopped = plan_of(tmp_path / "whole"), plan_of(tmp_path / "stopped")
    run_trainings(whole, "digits", Silent(), device="cpu")
    assert whole.left == ()
    with pytest.raises(Stopped):
        run_trainings(stopped, "digits", Silent(stop_after=8), device="cpu")  # in the second of two trainings
    assert [step.network for step in stopped.left] == [NETWORKS[1]]
    again = Silent()
    run_trainings(stopped, "digits", again, device="cpu")
    assert (again.kept_steps, again.begun) == ([NETWORKS[0]], [NETWORKS[1]])
    assert again.updates == 2 * 3 - 2  # two of six were done
    for one, other in zip(weights(whole), weights(stopped), strict=True):
        assert all(one[name].equal(other[name]) for name in one)
    evidence = read_evidence(stopped)
    (record,) = evidence.records[NETWORKS[0]]
    assert (record.images, record.test_images, record.epochs) == (60, 30, 2)
    assert (record.recipe.hflip, record.recipe.batch_size, record.recipe.opt) == (0, 20, "adam")
    assert evidence.dataset is None
    assert evidence.top1(NETWORKS[0]).low < evidence.top1(NETWORKS[0]).value

    page = tables_page(evidence, {}, (), "again")
    for text in ("Ours, on digits, test part: 30", "What is taken for what", "Images on which networks disagree"):
        assert text in page
    assert "Not recorded" not in page
    rows = list(csv.DictReader((stopped.steps[0].folder / "predictions.csv").open(encoding="utf-8")))
    assert len(rows) == 30
    assert 100 * sum(row["correct"] == "1" for row in rows) / 30 == pytest.approx(evidence.top1(NETWORKS[0]).value)
    assert 0 < len(list((stopped.folder / "disagreements").glob("*.png"))) == page.count('class="small"') <= 24

    with pytest.raises(UserError, match=r"epochs \(2, now 3\)"):
        run_trainings(plan_of(stopped.folder, dataclasses.replace(BUDGET, epochs=3)), "digits", Silent())


def test_images_of_a_budget_are_the_first_of_each_class_unchanged(tmp_path):
    source = open_source("digits", seed=SPLIT_SEED)
    chosen = first_of_each_class(source.splits["train"], 60)
    assert np.bincount(chosen.labels).tolist() == [6] * 10
    labels = source.splits["train"].labels
    expected = sorted(row for label in range(10) for row in [n for n in range(len(labels)) if labels[n] == label][:6])
    assert chosen.rows.tolist() == source.splits["train"].rows[expected].tolist()
    write_subset(source, tmp_path / "data", 60, None)
    written = open_source(tmp_path / "data")
    assert written.class_names == source.class_names
    assert (len(written.splits["train"]), len(written.splits["test"])) == (60, len(source.splits["test"]))
    for place in (0, 59):
        assert np.array_equal(written.splits["train"].read(place), chosen.read(place))


def test_a_shortened_schedule_keeps_its_share_of_warm_up(tmp_path):
    whole, short = (make_plan(load_experiment("sm_v2"), load_budget(name), tmp_path) for name in ("full", "small"))
    one, other = whole.steps[0].recipe, short.steps[0].recipe
    assert (one.epochs, one.warmup_epochs, one.batch_size) == (200, 5, 256)  # the recipe of the paper
    assert (other.epochs, other.batch_size, other.lr) == (4, 64, one.lr)
    assert other.warmup_epochs / other.epochs == pytest.approx(one.warmup_epochs / one.epochs)


def test_missing_data_and_foreign_folders_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such file or folder"):
        run_trainings(plan_of(tmp_path / "a"), str(tmp_path / "nothing"), Silent())
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "args.yaml").write_text("verb: bench")
    with pytest.raises(UserError, match="a run of another kind lies in it"):
        run_trainings(plan_of(tmp_path / "b"), "digits", Silent())


def test_a_table_without_trainings_keeps_to_the_folder_of_its_budget(tmp_path):
    """It writes down what it is of; later trainings fit in, and those of another budget do not."""
    counts = make_plan(load_experiment("dmp"), load_budget("smoke"), tmp_path / "new", ("Table 1",))
    assert counts.networks == ()
    begin_without_data(counts)
    begin_without_data(counts)
    assert read_evidence(counts).records == {}
    other = make_plan(load_experiment("dmp"), load_budget("small"), tmp_path / "new", ("Table 1",))
    with pytest.raises(UserError, match="holds records of another budget"):
        begin_without_data(other)
    run_trainings(dataclasses.replace(counts, networks=()), "digits", Silent())  # its data come in
    state = yaml.safe_load((tmp_path / "new" / "reproduction.yaml").read_text())
    assert (state["data"], state["classes"]) == ("digits", 10)
    begin_without_data(counts)
    assert yaml.safe_load((tmp_path / "new" / "reproduction.yaml").read_text()) == state
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "args.yaml").write_text("verb: bench")
    with pytest.raises(UserError, match="a run of another kind lies in it"):
        begin_without_data(dataclasses.replace(counts, folder=tmp_path / "bench"))
