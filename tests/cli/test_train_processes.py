"""Two processes must do what one does with the same total batch; they are started as users start them."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from command_line import SMALLEST, make_trees, refusal

STEPS = 20
# One update an epoch, so that results.csv has the loss of each; 24 images to train, 15 to judge: 8 and 7.
SHORT = ("--epochs", 3, "--img-size", 16, "--opt", "sgd", "--lr", 0.01, "--warmup-epochs", 0)
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
ACCELERATE = (sys.executable, "-m", "accelerate.commands.launch", "--cpu")
MODULE = ("-m", "leannet_cli", "train", SMALLEST)


def start(launcher, data, folder, *more):
    command = [*launcher, *MODULE, "--data", data, *SHORT, "--val-fraction", 0, *more, "--output", folder]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=240, env=environment, cwd=folder.parent
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def losses(folder):
    with (folder / "results.csv").open() as file:
        return torch.tensor([float(row["train_loss"]) for row in csv.DictReader(file)], dtype=torch.float64)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_trees(tmp_path_factory.mktemp("processes") / "trees")


@pytest.fixture(scope="module")
def one(data):
    folder = data.parent / "one"
    start((sys.executable,), data, folder, "--batch-size", 24)
    return folder


@pytest.fixture(scope="module")
def two(data):
    folder = data.parent / "two"
    return folder, start(TORCHRUN, data, folder, "--batch-size", 12)


# The loop in double precision: in single precision, rounding alone separates two runs within a few steps of a network
# with many batch norms, as it separates one process with another number of threads.
LOOP = f"""
import os, sys, torch
from leannet.data import open_source, with_validation
from leannet.training import *
class Double(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network, self.pretrained_cfg = network.double(), network.pretrained_cfg
    def forward(self, x):
        return self.network(x.double())
accelerator = make_accelerator("cpu")
rank, size = accelerator.process_index, accelerator.num_processes
source = with_validation(open_source(sys.argv[1]), 0, 0)
recipe = Recipe(epochs={STEPS}, batch_size=12 // size, grad_accum_steps=2, img_size=16, opt="sgd", lr=0.01)
recipe = settle_recipe(recipe.override(warmup_epochs=0.0, clip_grad=1.0, model_ema=True), source)
seed_everything(0)
network, _ = make_network("{SMALLEST}", source.class_names, recipe)
data = prepare_data(source, recipe)
trainer = Trainer(Double(network), data.train_batches(0, rank, size), recipe, 3, accelerator)
losses = []
while not trainer.finished:
    losses.append(trainer.run_epoch().loss)
    trainer.finish_epoch()
if rank == 0:
    state = {{"losses": torch.tensor(losses), **trainer.network.state_dict()}}
    average = {{"average " + name: tensor for name, tensor in trainer.judged.state_dict().items()}}
    torch.save(state | average, sys.argv[2])
accelerator.end_training()
os._exit(0)  # gloo's threads outlive the group; a process that tore Python down beside them has aborted now and then
"""


@pytest.mark.slow
def test_two_processes_give_the_curve_of_one(data, tmp_path):
    """20 updates, each of two batches, with clipped gradients and an average of the weights."""
    (tmp_path / "loop.py").write_text(LOOP)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    for name, launcher in (("one", (sys.executable,)), ("two", TORCHRUN)):
        command = [*launcher, tmp_path / "loop.py", data, tmp_path / name]
        done = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, timeout=240, env=environment, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr[-3000:]
    one, two = (torch.load(tmp_path / name, weights_only=True) for name in ("one", "two"))
    assert len(one["losses"]) == STEPS
    assert one["losses"].unique().numel() == STEPS
    torch.testing.assert_close(two["losses"], one["losses"], atol=1e-6, rtol=0)
    assert two.keys() == one.keys()
    for name in one.keys() - {"losses"}:
        torch.testing.assert_close(two[name], one[name], atol=1e-6, rtol=1e-6, msg=name)


@pytest.mark.slow
def test_the_first_step_is_that_of_one_process(one, two):
    folder, _ = two
    assert len(losses(one)) == len(losses(folder)) == 3
    assert float(losses(folder)[0]) == pytest.approx(float(losses(one)[0]), abs=1e-5)


@pytest.mark.slow
def test_without_common_statistics_the_curves_differ(data, one):
    """The bound of the test above would see it."""
    folder = data.parent / "apart"
    done = start(TORCHRUN, data, folder, "--batch-size", 12, "--no-sync-bn", "--epochs", 1)
    assert abs(losses(folder)[0] - losses(one)[0]) > 1e-3
    assert "batch norm statistics in each process alone" in done.stderr


@pytest.mark.slow
def test_each_image_is_judged_once(one, two):
    folder, _ = two
    alone, together = (json.loads((run / "results.json").read_text())["test"] for run in (one, folder))
    assert together["total"] == alone["total"] == 15
    assert together["loss"] == pytest.approx(alone["loss"], rel=0.05)


@pytest.mark.slow
def test_only_one_process_writes_and_speaks(one, two):
    folder, done = two
    assert done.stdout.count("Written to") == 1
    assert done.stderr.count("epoch 3/3") == 1
    assert "batch 12 x 2 processes = 24" in done.stderr
    assert "batch norm statistics over all processes" in done.stderr
    names = [{path.relative_to(run) for path in run.rglob("*")} for run in (one, folder)]
    assert names[0] == names[1]
    assert json.loads((folder / "environment.json").read_text())["processes"] == 2


@pytest.mark.slow
def test_accelerate_launches_too(data, one):
    """On the CPU alone it starts a single process, whatever --num_processes says, unless MPI is there."""
    folder = data.parent / "launched"
    start(ACCELERATE, data, folder, "--batch-size", 24)
    assert losses(folder).equal(losses(one))


@pytest.mark.slow
def test_another_number_of_processes_does_not_go_on(two, tmp_path):
    run = shutil.copytree(two[0], tmp_path / "run")
    (run / "results.json").unlink()
    assert refusal("train", "--resume", run) == (
        f"leannet: cannot resume {run}: it was begun with 2 processes, and these are 1. "
        "Start as many: the total batch depends on it."
    )


BATCH_NORM = """
import sys, torch, torch.distributed as dist
from leannet.training.distributed import GlobalBatchNorm
dist.init_process_group("gloo")
saved = torch.load(sys.argv[1], weights_only=True)
rank = dist.get_rank()
part = slice(0, 5) if rank == 0 else slice(5, 12)
x, mean, var = saved["x"][part].requires_grad_(), saved["mean"], saved["var"]
weight, bias = saved["weight"].requires_grad_(), saved["bias"].requires_grad_()
with GlobalBatchNorm():
    y = torch.nn.functional.batch_norm(x, mean, var, weight, bias, True, 0.1, 1e-5)
(y * saved["factor"][part]).sum().backward()
dist.all_reduce(weight.grad)
dist.all_reduce(bias.grad)
found = {"y": y.detach(), "dx": x.grad, "mean": mean, "var": var, "dw": weight.grad, "db": bias.grad}
torch.save(found, f"{sys.argv[2]}/{rank}.pt")
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_batch_norm_over_processes_is_that_of_the_whole_batch(tmp_path: Path):
    """Shares of 5 and 7 images: the mean of means would be wrong."""
    torch.manual_seed(0)
    given = {"x": torch.randn(12, 3, 4, 4) * 3 + 5, "factor": torch.randn(12, 3, 4, 4)}
    given |= {"mean": torch.zeros(3), "var": torch.ones(3), "weight": torch.randn(3), "bias": torch.randn(3)}
    torch.save(given, tmp_path / "given.pt")
    (tmp_path / "script.py").write_text(BATCH_NORM)
    command = [*TORCHRUN, tmp_path / "script.py", tmp_path / "given.pt", tmp_path]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    x, weight, bias = (given[name].requires_grad_() for name in ("x", "weight", "bias"))
    y = F.batch_norm(x, given["mean"], given["var"], weight, bias, True, 0.1, 1e-5)
    (y * given["factor"]).sum().backward()
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    close = {"atol": 2e-5, "rtol": 1e-4}
    torch.testing.assert_close(torch.cat((first["y"], second["y"])), y.detach(), **close)
    torch.testing.assert_close(torch.cat((first["dx"], second["dx"])), x.grad, **close)
    for found in (first, second):
        torch.testing.assert_close(found["mean"], given["mean"], **close)
        torch.testing.assert_close(found["var"], given["var"], **close)
        torch.testing.assert_close(found["dw"], weight.grad, **close)
        torch.testing.assert_close(found["db"], bias.grad, **close)
