"""``leannet export`` of networks with exits: images leave the file where they leave the network."""

import importlib
import json
import re

import numpy as np
import onnx
import pytest
import torch
from command_line import leannet as run_command

from leannet import create_network
from leannet.data import open_source
from leannet.deploy.predictor import TorchPredictor
from leannet.early_exit import ExitPolicy, attach_exits, write_policy
from leannet.models import count_exit_macs
from leannet.training import load_saved_network, save_model_folder
from leannet_runtime import Preprocessing, load

pytestmark = pytest.mark.slow

SIDE = 16
FILE = importlib.import_module("leannet.deploy.formats.onnx_file")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    network = attach_exits(create_network("test_resnet", num_classes=10, img_size=SIDE), ["layer1", "layer3"])
    path = tmp_path_factory.mktemp("exits") / "network"
    preprocessing = Preprocessing(SIDE, 1.0, "bilinear")
    save_model_folder(network, path, tuple("0123456789"), preprocessing)
    return path


@pytest.fixture(scope="module")
def policy(folder):
    """One by which a third of the test images leaves at each exit."""
    saved = load_saved_network(folder)
    batch = torch.from_numpy(
        saved.preprocessing.normalise(np.stack([saved.preprocessing.pixels(each) for each in digits()]))
    )
    with torch.inference_mode():
        first, second, _ = (z.softmax(dim=1).amax(dim=1) for z in saved.model.eval().forward_exits(batch))
    found = float(first.quantile(2 / 3))
    chosen = ExitPolicy((found, float(second[first < found].quantile(0.5))))
    write_policy(folder, chosen, {})
    return chosen


def digits():
    test = open_source("digits").splits["test"]
    return [test.read(number) for number in range(100)]


@pytest.fixture(scope="module")
def exported(folder, policy):
    made, real = [], FILE.exits_graph
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FILE, "exits_graph", lambda *given: made.append(real(*given)) or made[0])
        found = run_command("export", folder, "--check-data", "digits", "--check-images", 100)
    assert found.code == 0, found.err
    return folder / "model.onnx", found, made[0]


def test_the_proof_counts_exits(exported):
    _, found, _ = exported
    assert re.search(r"answers from another exit, same input +0 of 142 +0", found.out)
    counts = [int(each) for each in re.search(r"Answers by exit: (\d+), (\d+), (\d+)\.", found.out).groups()]
    assert sum(counts) == 142
    assert min(counts[:2]) >= 20


def test_the_file_says_its_policy(exported, folder, policy):
    path, _, _ = exported
    said = load(path).description
    assert ExitPolicy.from_config(said["early_exit"]) == policy
    assert said["exit_macs"] == list(count_exit_macs(load_saved_network(folder).model, SIDE).open)
    assert said["proof"]["routes"]["wrong"] == 0
    assert sum(said["proof"]["routes"]["taken"]) == 142


def test_file_and_folder_answer_alike(exported, folder, policy):
    path, _, _ = exported
    pictures = digits()
    file, network = load(path).predict(pictures), TorchPredictor(load_saved_network(folder)).predict(pictures)
    assert {each.exit for each in file} == {1, 2, 3}
    # Some pixels lie one level of 255 beside pillow's, which may move an image across a threshold.
    same = [a.exit == b.exit and a.labels[0] == b.labels[0] for a, b in zip(file, network, strict=True)]
    assert sum(same) >= 95
    assert file[0].probabilities == pytest.approx(network[0].probabilities, abs=0.05)


def test_predict_shows_the_exit(exported, tmp_path):
    path, _, _ = exported
    digits()[0].save(tmp_path / "a.png")
    found = run_command("predict", path, tmp_path / "a.png", "--format", "json")
    assert json.loads(found.out)[0]["exit"] in (1, 2, 3)


def test_a_file_whose_threshold_is_damaged_is_not_written(exported, folder, policy, tmp_path, monkeypatch):
    damaged = onnx.ModelProto()
    damaged.CopyFrom(exported[2])
    changed = 0
    for weight in damaged.graph.initializer:
        value = onnx.numpy_helper.to_array(weight)
        if value.size == 1 and value.dtype == np.float32 and value.item() == np.float32(policy.thresholds[0]):
            weight.CopyFrom(onnx.numpy_helper.from_array(value + np.float32(0.02), weight.name))
            changed += 1
    assert changed == 1
    monkeypatch.setattr(FILE, "exits_graph", lambda *_: damaged)
    found = run_command("export", folder, "--check-data", "digits", "-o", tmp_path / "damaged.onnx")
    assert found.code == 3
    assert "answers come from another exit" in found.err
    assert list(tmp_path.iterdir()) == []


def test_a_program_of_torch_answers_at_the_last_exit_and_says_so(folder, policy, tmp_path):
    path = tmp_path / "last.pt2"
    found = run_command("export", folder, "--check-data", "digits", "--format", "torch-export", "-o", path)
    assert found.code == 0, found.err
    assert "a file of torch-export answers at the last of 3 exits: the policy of the folder is not in it" in found.out
    image = torch.randn(3, 3, SIDE, SIDE)
    logits = torch.export.load(path).module()(image)[0]
    torch.testing.assert_close(logits, load_saved_network(folder).model.eval()(image), rtol=1e-4, atol=1e-4)


def test_without_a_policy_the_file_answers_at_the_last_exit(folder, policy, tmp_path):
    config = json.loads((folder / "config.json").read_text())
    del config["early_exit"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    found = run_command("export", tmp_path, "--check-data", "digits", "--check-images", 20)
    assert found.code == 0, found.err
    assert "the file answers at the last of 3 exits; leannet calibrate" in " ".join(found.out.split())
    predictor = load(tmp_path / "model.onnx")
    assert predictor.description["early_exit"] is predictor.description["exit_macs"] is None
    assert predictor.run(digits()[:2]).exits is None
