"""Options of `leannet train` that change how it learns, each against a truth that others compute."""

import importlib.util

import numpy as np
import pytest
import timm
import torch
from accelerate.state import AcceleratorState
from command_line import QUICK, SMALLEST, make_images, refusal
from model_folders import rows_of
from PIL import Image
from safetensors.torch import load_file, save_file
from sklearn.utils.class_weight import compute_class_weight
from torch.nn.functional import cross_entropy
from torchvision import transforms
from train_runs import STANDING, WITHOUT_BATCH_NORM, losses, train

COUNTS = {"ash": 9, "birch": 3, "cedar": 1}


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """Classes of nine, three and one training images."""
    counts = {f"train/{name}": count for name, count in COUNTS.items()} | {f"test/{name}": 2 for name in COUNTS}
    return make_images(tmp_path_factory.mktemp("uneven") / "uneven", counts)


@pytest.fixture
def precision_of_its_own():
    """accelerate keeps one precision for a whole process."""
    AcceleratorState._reset_state(True)
    yield
    AcceleratorState._reset_state(True)


def weights_of(folder, kept="last"):
    return load_file(folder / kept / "model.safetensors")


def answers(folder, data):
    """Return logits and labels of the training images, through timm and torchvision alone."""
    files = [(path, label) for label, name in enumerate(COUNTS) for path in sorted((data / "train" / name).iterdir())]
    prepare = transforms.Compose(
        [
            transforms.Resize((32, 32), transforms.InterpolationMode.BICUBIC),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    with torch.inference_mode():
        logits = model(torch.stack([prepare(Image.open(path).convert("RGB")) for path, _ in files]))
    return logits, torch.tensor([label for _, label in files])


@pytest.mark.parametrize("how", ["none", "balanced", "sqrt"])
def test_class_weights_are_those_of_scikit_learn(how, uneven, tmp_path):
    train(uneven, tmp_path / "out", *STANDING, "--class-weights", how, network=WITHOUT_BATCH_NORM, quick=())
    logits, labels = answers(tmp_path / "out" / "last", uneven)
    weights = compute_class_weight("balanced", classes=np.arange(3), y=labels.numpy())
    power = {"none": 0, "balanced": 1, "sqrt": 0.5}[how]
    # PyTorch's mean of weighted losses is over the weights: only their ratios count.
    expected = cross_entropy(logits, labels, torch.tensor(weights**power, dtype=torch.float32))
    assert losses(tmp_path / "out") == pytest.approx([float(expected)], rel=1e-4)


def test_balanced_sampler_draws_classes_equally_often(uneven, tmp_path):
    """With a network that prefers the largest class, the mean loss tells how often each class was drawn."""
    train(uneven, tmp_path / "first", *STANDING, network=WITHOUT_BATCH_NORM, quick=())
    weights = weights_of(tmp_path / "first")
    weights["head.fc.bias"] += torch.tensor([3.0, 0.0, 0.0])
    save_file(weights, tmp_path / "partial.safetensors")
    more = ("--sampler", "balanced", "--batch-size", 13, "--epochs", 40, "--weights", tmp_path / "partial.safetensors")
    train(uneven, tmp_path / "out", *STANDING, *more, network=WITHOUT_BATCH_NORM, quick=())
    logits, labels = answers(tmp_path / "out" / "last", uneven)
    each = cross_entropy(logits, labels, reduction="none")
    equal = np.mean([float(each[labels == label].mean()) for label in range(3)])
    deviation = float(each.std()) / np.sqrt(40 * 13)
    assert np.mean(losses(tmp_path / "out")) == pytest.approx(equal, abs=4 * deviation)
    assert abs(float(each.mean()) - equal) > 8 * deviation, "the two could not be told apart"


def test_average_of_the_weights_is_judged_and_kept(trees, tmp_path):
    """After one update timm's average, which begins with less decay, lies between start and end."""
    one_step = ("--epochs", 1, "--batch-size", 100, "--lr", 0.5, "--opt", "sgd", "--warmup-epochs", 0)
    train(trees, tmp_path / "still", *one_step, "--lr", 1e-12)
    train(trees, tmp_path / "plain", *one_step)
    train(trees, tmp_path / "average", *one_step, "--model-ema", "--model-ema-decay", 0.9)
    start, end = weights_of(tmp_path / "still"), weights_of(tmp_path / "plain")
    assert all(weights_of(tmp_path / "average")[name].equal(end[name]) for name in end)
    kept = weights_of(tmp_path / "average", "best")
    decays = {
        round(float((kept[name] - end[name]).norm() / (start[name] - end[name]).norm()), 3)
        for name in end
        if name.endswith("conv1.weight")
    }
    assert len(decays) == 1
    assert 0 <= decays.pop() <= 0.9
    rows = [rows_of(tmp_path / name / "results.csv")[0] for name in ("plain", "average")]
    assert rows[0]["train_loss"] == rows[1]["train_loss"]


def test_two_half_batches_are_one_batch(trees, tmp_path):
    """Without batch norm and augmentation the gradients are the same."""
    learning = ("--lr", 0.05, "--momentum", 0.9, "--epochs", 3)
    for name, batch, steps in (("one", 8, 1), ("two", 4, 2), ("many", 2, 4)):
        more = (*STANDING, *learning, "--batch-size", batch, "--grad-accum-steps", steps)
        answer = train(trees, tmp_path / name, *more, network=WITHOUT_BATCH_NORM, quick=())
        assert (f"batch {batch} x {steps} steps = 8" if steps > 1 else "batch 8,") in answer.err
    for name in ("two", "many"):
        assert losses(tmp_path / name) == pytest.approx(losses(tmp_path / "one"), abs=1e-5)
        found, expected = weights_of(tmp_path / name), weights_of(tmp_path / "one")
        for key in expected:
            torch.testing.assert_close(found[key], expected[key], rtol=1e-3, atol=1e-5, msg=key)
    assert losses(tmp_path / "one")[0] != pytest.approx(losses(tmp_path / "one")[-1], rel=1e-3), "it learned nothing"


@pytest.mark.usefixtures("precision_of_its_own")
def test_mixed_precision(trees, tmp_path):
    train(trees, tmp_path / "half", "--amp")
    AcceleratorState._reset_state(True)
    train(trees, tmp_path / "full")
    assert losses(tmp_path / "half") != losses(tmp_path / "full")
    assert losses(tmp_path / "half") == pytest.approx(losses(tmp_path / "full"), rel=0.05)
    half, full = weights_of(tmp_path / "half"), weights_of(tmp_path / "full")
    assert {name: tensor.dtype for name, tensor in half.items()} == {name: t.dtype for name, t in full.items()}


def test_layout_in_memory_changes_the_speed_only(trees, tmp_path):
    for name in ("channels-last", "no-channels-last"):
        train(trees, tmp_path / name, f"--{name}", "--opt", "sgd", "--lr", 0.01)
    assert losses(tmp_path / "channels-last") == pytest.approx(losses(tmp_path / "no-channels-last"), rel=1e-5)


@pytest.mark.slow
def test_compiled_network_learns_alike_and_is_kept_as_it_was(trees, tmp_path):
    for name, more in (("compiled", ("--compile",)), ("plain", ())):
        quick = (*STANDING, "--lr", 0.05, "--epochs", 2, "--batch-size", 8)  # all batches are of one size
        train(trees, tmp_path / name, *more, network=WITHOUT_BATCH_NORM, quick=quick)
    assert losses(tmp_path / "compiled") == pytest.approx(losses(tmp_path / "plain"), rel=1e-3)
    assert weights_of(tmp_path / "compiled").keys() == weights_of(tmp_path / "plain").keys()


def test_tensorboard_has_the_rows_of_the_table(trees, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(trees, tmp_path / "out", "--epochs", 2, "--track", "tensorboard")
    written = sorted({path.parent for path in (tmp_path / "out").rglob("events.out.tfevents.*")})
    found = {}
    for folder in written:
        events = EventAccumulator(str(folder)).Reload()
        found |= {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    for column in ("train_loss", "val_top1", "lr"):
        rows = rows_of(tmp_path / "out" / "results.csv")
        expected = [(int(row["epoch"]), pytest.approx(float(row[column]), rel=1e-5)) for row in rows]
        assert found[column] == expected


def test_trackers_that_are_not_there_are_refused(trees, tmp_path):
    said = refusal("train", SMALLEST, "--data", trees, *QUICK, "--track", "notebook")
    assert said == (
        "leannet: unknown tracker notebook: accelerate has no such. Choose tensorboard or wandb or mlflow or trackio."
    )
    missing = [name for name in ("wandb", "mlflow", "trackio") if importlib.util.find_spec(name) is None]
    for name in missing:
        said = refusal("train", SMALLEST, "--data", trees, *QUICK, "--track", name)
        assert said.startswith(f"leannet: cannot track with {name}: {name} is not installed. ")
        assert said.endswith(f"-m pip install {name}, or leave --track away.")
    assert not (tmp_path / "runs").exists()


def test_nesterov_without_momentum_is_refused(trees, tmp_path):
    said = refusal("train", SMALLEST, "--data", trees, *QUICK, "--opt", "sgd", "--momentum", 0)
    assert said == (
        "leannet: cannot use optimizer sgd with momentum 0: timm's sgd is the one with Nesterov momentum, which needs "
        "some. Pass --opt momentum, which is SGD and takes 0 too, or --momentum 0.9, say."
    )
    train(trees, tmp_path / "out", "--opt", "momentum", "--momentum", 0)  # the remedy is one
