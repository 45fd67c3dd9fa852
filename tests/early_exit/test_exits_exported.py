"""The ONNX graph that images leave early: for every rule it answers as PyTorch does, and runs no stage in vain."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from exit_networks import CLASSES, Chain, images, slow, softmax, sure

from leannet.deploy.formats.exits_graph import exits_graph
from leannet.early_exit import ExitPolicy, StagedClassifier, sureness

pytestmark = pytest.mark.slow  # the exporter takes seconds for each stage

SIDE = 8
TEMPERATURES = (0.7, 1.3, 2.0, 0.9)


@cache
def make_network():
    network = Chain(seed=39)  # its exits agree three times in a row now and then
    return network.float().eval().requires_grad_(False)


@pytest.fixture
def network():
    return make_network()


def thresholds(network, rule, temperatures, seed):
    """Random ones that part of the images reach."""
    random = np.random.default_rng(seed)
    chosen = []
    for logits, temperature in zip(network.forward_exits(images(256).float())[:-1], temperatures, strict=False):
        values = sureness((logits / temperature).softmax(dim=1), rule)
        chosen.append(float(values.quantile(random.uniform(0.4, 0.8))))
    return tuple(chosen)


POLICIES = {
    "confidence": lambda network: ExitPolicy(thresholds(network, "confidence", (1,) * 3, 0)),
    "entropy": lambda network: ExitPolicy(thresholds(network, "entropy", TEMPERATURES, 1), "entropy", TEMPERATURES),
    "margin": lambda network: ExitPolicy(thresholds(network, "margin", (1,) * 3, 2), "margin", ensemble=True),
    "patience": lambda _: ExitPolicy((), "patience", TEMPERATURES, 2, ensemble=True),
    "more patience": lambda _: ExitPolicy((), "patience", patience=3),
}


@cache
def made(name):
    network = make_network()
    policy = POLICIES[name](network)
    model = exits_graph(network, policy, SIDE, 18, "image", "chain")
    onnx.checker.check_model(model, full_check=True)
    return policy, model


@pytest.fixture(params=POLICIES)
def exported(request):
    return made(request.param)


def open_model(model, profile=None):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def at_the_edge(logits, policy):
    """Whether the last digits decide where an image leaves."""
    for exit, values in enumerate(logits[:-1]):
        scaled = softmax([value / (policy.temperatures[exit] if policy.temperatures else 1) for value in values])
        if policy.rule == "patience":
            first, second = sorted(values, reverse=True)[:2]
            if first - second < 1e-4:
                return True
        elif abs(sure(scaled, policy.rule) - policy.thresholds[exit]) < 1e-4:
            return True
    return False


def test_answers_are_those_of_staged_inference_and_of_a_loop(network, exported):
    policy, model = exported
    session, staged = open_model(model), StagedClassifier(network, policy)
    taken = []
    for count in range(1, 17):
        batch = images(count, seed=count).float()
        logits, probabilities, exits = session.run(["logits", "probabilities", "exit"], {"image": batch.numpy()})
        wanted = staged(batch)
        every = torch.stack(network.forward_exits(batch), dim=1).tolist()
        clear = [not at_the_edge(row, policy) for row in every]
        assert sum(clear) >= count - 1
        assert exits.dtype == np.int64
        for row in np.flatnonzero(clear):
            answer, number = slow(every[row], policy)
            assert exits[row] == wanted.exits[row] == number
            assert probabilities[row] == pytest.approx(answer, abs=1e-5)
            assert probabilities[row] == pytest.approx(wanted.probabilities[row].numpy(), abs=1e-5)
            assert softmax(logits[row].tolist()) == pytest.approx(answer, abs=1e-5)
            if not (policy.ensemble and number == 4):
                temperature = policy.temperatures[number - 1] if policy.temperatures else 1
                scaled = np.array(every[row][number - 1]) / temperature
                assert logits[row] == pytest.approx(scaled, abs=1e-4)
        taken += exits.tolist()
    first = policy.patience if policy.rule == "patience" else 1
    assert set(taken) == set(range(first, 5))  # otherwise less has been compared than it seems


def stages_run(model, batch, folder):
    """Return the stages whose convolution onnxruntime says to have run: what it profiles is what it executes."""
    session = open_model(model, folder / "profile")
    exits = session.run(["exit"], {"image": batch.numpy()})[0]
    events = json.loads(Path(session.end_profiling()).read_text())
    convolved = [each["name"] for each in events if "Conv" in each.get("args", {}).get("op_name", "")]
    assert convolved
    return exits, {next((n for n in (2, 3, 4) if f"exit{n}/" in name), 1) for name in convolved}


def test_stages_after_the_last_image_has_left_are_not_run(network, tmp_path):
    policy, model = made("confidence")
    batch = images(64).float()
    exits = StagedClassifier(network, policy)(batch).exits
    for last in (1, 2, 3, 4):
        found, ran = stages_run(model, batch[exits <= last], tmp_path)
        assert found.max() == last
        assert ran == set(range(1, last + 1))
    one = batch[exits == 1][:1]
    assert stages_run(model, one, tmp_path)[1] == {1}


def test_weights_lie_in_the_stage_that_uses_them(exported):
    """There runtimes bring them into their own form; passed in from outside they are variables to some of them."""
    _, model = exported
    graph, found = model.graph, []
    while True:
        made = {each.name for each in graph.initializer}
        convolutions = [node for node in graph.node if node.op_type == "Conv"]
        found.append(len(convolutions))
        assert all(name in made for node in convolutions for name in node.input[1:])
        branches = [node for node in graph.node if node.op_type == "If"]
        if not branches:
            break
        graph = next(each.g for each in branches[0].attribute if each.name == "then_branch")
    assert found == [1, 1, 1, 1]


def test_shapes_are_stated_for_readers(exported):
    _, model = exported
    session = open_model(model)
    found = {each.name: (each.type, each.shape) for each in session.get_outputs()}
    assert found["logits"] == found["probabilities"] == ("tensor(float)", ["batch", CLASSES])
    assert found["exit"] == ("tensor(int64)", ["batch"])
    assert session.get_inputs()[0].shape == ["batch", 3, SIDE, SIDE]
