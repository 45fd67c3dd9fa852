"""Training that begins with weights: a model folder, a file, a frozen network, a teacher."""

import json
import os
import shutil

import pytest
import timm
import torch
from command_line import QUICK, SMALLEST, TREES, make_images, refusal
from model_folders import make_model_folder, truth_of
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy, kl_div, log_softmax
from train_runs import STANDING, WITHOUT_BATCH_NORM, losses, train

HEAD = "head.fc."


@pytest.fixture(scope="module")
def trained(trees, tmp_path_factory):
    """A model folder of SMALLEST for the classes of `trees`; not to be changed."""
    return make_model_folder(tmp_path_factory.mktemp("trained") / "net", trees)


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    """Images of four classes, of which `trees` has three."""
    counts = {f"{part}/{name}": 4 for part in ("train", "test") for name in (*TREES, "dogwood")}
    return make_images(tmp_path_factory.mktemp("four") / "four", counts)


def weights_of(folder):
    return load_file(folder / "model.safetensors")


def split(weights):
    """Return the classifier and everything else."""
    head = {name: tensor for name, tensor in weights.items() if name.startswith(HEAD)}
    assert {tensor.ndim for tensor in head.values()} == {1, 2}, "the classifier has another name"
    return head, {name: tensor for name, tensor in weights.items() if name not in head}


STILL = ("--lr", 1e-12, "--opt", "sgd", "--weight-decay", 0)


def test_the_same_classes_keep_the_classifier(trees, trained, tmp_path):
    answer = train(trees, tmp_path / "out", *STILL, network=trained)
    assert "replaced" not in answer.err
    head, _ = split(weights_of(tmp_path / "out" / "last"))
    for name, tensor in split(weights_of(trained))[0].items():
        torch.testing.assert_close(head[name], tensor, atol=1e-7, rtol=0)


def test_other_classes_get_a_new_one(four, trained, tmp_path):
    answer = train(four, tmp_path / "out", *STILL, network=trained)
    assert "note: head 3 -> 4 replaced" in answer.err.splitlines()
    head, rest = split(weights_of(tmp_path / "out" / "last"))
    assert {len(tensor) for tensor in head.values()} == {4}
    for name, tensor in split(weights_of(trained))[1].items():
        if name.endswith("weight"):
            torch.testing.assert_close(rest[name], tensor, atol=1e-7, rtol=0)
    config = json.loads((tmp_path / "out" / "best" / "config.json").read_text())
    assert config["label_names"] == [*TREES, "dogwood"]


def test_classes_of_other_names_get_a_new_one(tmp_path, trained):
    other = make_images(tmp_path / "other", {f"{p}/{n}": 4 for p in ("train", "test") for n in ("x", "y", "z")})
    assert "head 3 -> 3 replaced" in train(other, tmp_path / "out", network=trained).err


@pytest.mark.parametrize("kind", [".safetensors", ".pth", ".pth of a training"])
def test_weights_from_a_file(kind, trees, trained, tmp_path):
    weights = weights_of(trained)
    file = tmp_path / f"weights{kind.partition(' ')[0]}"
    if kind == ".safetensors":
        save_file(weights, file)
    else:
        torch.save({"state_dict": weights, "epoch": 3} if "training" in kind else weights, file)
    train(trees, tmp_path / "out", *STILL, "--weights", file)
    found = weights_of(tmp_path / "out" / "last")
    for name in (name for name in weights if name.endswith("weight")):
        torch.testing.assert_close(found[name], weights[name], atol=1e-7, rtol=0)


def test_weights_for_other_classes_leave_the_classifier(four, trained, tmp_path):
    answer = train(four, tmp_path / "out", *STILL, "--weights", trained / "model.safetensors")
    assert "note: head 3 -> 4 replaced" in answer.err.splitlines()


class Trap:
    """Unpickling it makes a folder."""

    def __reduce__(self):
        return os.mkdir, ("trapped",)


def test_weights_that_would_run_code_are_refused(trees, tmp_path):
    torch.save({"fc.weight": torch.zeros(3), "trap": Trap()}, tmp_path / "trap.pth")
    said = refusal("train", SMALLEST, "--data", trees, *QUICK, "--weights", tmp_path / "trap.pth")
    assert said == (
        f"leannet: cannot read {tmp_path / 'trap.pth'}: it is not a file of weights, or holds objects that run code "
        "when they are loaded. Give a .safetensors file, or save the state_dict() alone with torch.save."
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["trap.pth"]


@pytest.mark.parametrize("name", ["cut.safetensors", "cut.pth", "text.pth", "empty.safetensors", "missing.pth"])
def test_weights_that_are_none_are_refused(name, trees, trained, tmp_path):
    file = tmp_path / name
    content = (trained / "model.safetensors").read_bytes()
    if name == "cut.pth":
        torch.save(weights_of(trained), file)
        content = file.read_bytes()
    if name.startswith("cut"):
        file.write_bytes(content[: len(content) // 2])
    elif name != "missing.pth":
        file.write_text("hello\n" * name.startswith("text"))
    said = refusal("train", SMALLEST, "--data", trees, *QUICK, "--weights", file)
    assert said.startswith(f"leannet: cannot read {file}: ")
    assert not (tmp_path / "runs").exists()


def test_weights_of_another_network_are_refused(trees, trained, tmp_path):
    file = trained / "model.safetensors"
    said = refusal("train", "test_efficientnet", "--data", trees, *QUICK, "--weights", file)
    assert said.startswith(f"leannet: cannot use the weights {file}: of another network: ")
    wider = {
        name: tensor.repeat(2, *[1] * (tensor.ndim - 1)) for name, tensor in weights_of(trained).items() if tensor.ndim
    }
    save_file(wider, tmp_path / "wide.safetensors")
    said = refusal("train", SMALLEST, "--data", trees, *QUICK, "--weights", tmp_path / "wide.safetensors")
    assert "of another network: " in said
    assert ", not (" in said


def test_freeze_changes_the_classifier_only(trees, trained, tmp_path):
    """Statistics of batch norms included, bit by bit."""
    train(trees, tmp_path / "out", "--freeze", "--epochs", 2, "--lr", 0.1, "--drop", 0.1, network=trained)
    for kept in ("best", "last"):
        head, rest = split(weights_of(tmp_path / "out" / kept))
        before, expected = split(weights_of(trained))
        assert rest.keys() == expected.keys()
        assert any("running_mean" in name for name in rest)
        assert [name for name in rest if not rest[name].equal(expected[name])] == []
        assert all(not head[name].equal(before[name]) for name in head)


def reordered(folder, target, order):
    """Copy a model folder with its classes in another order: the same function under other numbers."""
    shutil.copytree(folder, target)
    config = json.loads((folder / "config.json").read_text())
    config["label_names"] = [config["label_names"][index] for index in order]
    (target / "config.json").write_text(json.dumps(config))
    head, rest = split(weights_of(folder))
    save_file({**rest, **{name: tensor[order] for name, tensor in head.items()}}, target / "model.safetensors")
    return target


def test_a_teacher_is_matched_by_the_names_of_its_classes(trees, trained, tmp_path):
    other = reordered(trained, tmp_path / "other", [2, 0, 1])
    for name, teacher in (("one", trained), ("two", other)):
        train(trees, tmp_path / name, "--teacher", teacher, "--distill-alpha", 0.9, "--seed", 3)
    train(trees, tmp_path / "none", "--seed", 3)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-6)
    assert losses(tmp_path / "none") != pytest.approx(losses(tmp_path / "one"), rel=0.01)
    one, two = (weights_of(tmp_path / name / "last") for name in ("one", "two"))
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-4, atol=1e-5, msg=name)


def test_loss_with_a_teacher_is_that_of_the_paper(trees, tmp_path):
    """Hinton's loss of the probabilities that both networks give through timm and torchvision alone."""
    teacher = make_model_folder(tmp_path / "teacher", trees, size=32)
    more = ("--teacher", teacher, "--distill-alpha", 0.7, "--distill-temperature", 3)
    train(trees, tmp_path / "out", *STANDING, *more, network=WITHOUT_BATCH_NORM, quick=())
    _, labels, own = truth_of(tmp_path / "out" / "last", trees, "train")
    _, _, known = truth_of(teacher, trees, "train")
    own, known = (torch.from_numpy(values).log() for values in (own, known))  # logits, but for a constant
    soft = kl_div(log_softmax(own / 3, 1), log_softmax(known / 3, 1), log_target=True, reduction="batchmean")
    expected = 0.3 * cross_entropy(own, torch.from_numpy(labels)) + 0.7 * 9 * soft
    assert losses(tmp_path / "out") == pytest.approx([float(expected)], rel=1e-4)


def test_a_teacher_of_other_classes_is_refused(four, trained, tmp_path):
    said = refusal("train", SMALLEST, "--data", four, *QUICK, "--teacher", trained)
    assert said == (
        f"leannet: cannot learn from {trained}: its classes are not those of the data (it has ash, birch, cedar). "
        "Give a teacher that was trained on the same classes."
    )
    said = refusal("train", SMALLEST, "--data", four, *QUICK, "--teacher", tmp_path / "nobody")
    assert str(tmp_path / "nobody") in said


def test_a_folder_of_another_size_keeps_its_size(trees, tmp_path):
    """Fine-tuning sees images as the network saw them before, if nobody says otherwise."""
    folder = make_model_folder(tmp_path / "net", trees, size=24)
    answer = train(trees, tmp_path / "out", quick=("--epochs", 1, "--batch-size", 8), network=folder)
    assert "24 px" in answer.err
    model = timm.create_model(f"local-dir:{tmp_path / 'out' / 'best'}", pretrained=True)
    assert model.pretrained_cfg["input_size"] == (3, 24, 24)
