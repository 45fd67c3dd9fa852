"""Where rounding may decide by which exit an image leaves, and what the proof of an exported file makes of it."""

import numpy as np
import pytest
import torch
from exit_networks import Chain, images, slow
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from test_staged import policy_of

from leannet.blocks.efficient_multi_scale import ChannelGate
from leannet.deploy.proof import ProofFailed, prove
from leannet.deploy.proof_images import ProofImages
from leannet.deploy.routes import ROUNDING, Reference, Routes
from leannet.early_exit import ExitPolicy, StagedClassifier
from leannet.models.emgnet import EMGNET56_CIFAR, EMGNet
from leannet_runtime import Preprocessing

TEMPERATURES = (1.2, 1.0, 0.8, 1.1)
PREPROCESSING = Preprocessing(8, 1.0, "bilinear")


@pytest.fixture(scope="module")
def network():
    return Chain().float().eval().requires_grad_(False)


@settings(deadline=None, max_examples=25)
@given(data=st.data(), count=st.integers(1, 16), seed=st.integers(0, 100))
def test_rounding_leads_to_possible_exits_only(data, count, seed):
    """Logits are moved as far as another runtime may move them, and the rule applied the slow way."""
    network, policy = Chain().float().eval(), policy_of(data.draw, 4)
    batch = images(count, seed=seed).float()
    with torch.inference_mode():
        every = torch.stack(network.forward_exits(batch), dim=1).double()
    expected = Reference(network, policy).answer(batch.numpy())
    noise = torch.rand(every.shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    moved = every + noise * 0.9 * ROUNDING * every.abs().amax(dim=2, keepdim=True)
    for row in range(count):
        answer, number = slow(moved[row].tolist(), policy)
        assert expected.possible[row, number - 1]
        assert expected.possible[row, expected.exits[row] - 1]
        logits = torch.from_numpy(expected.at(np.full(count, number)))
        assert logits[row].softmax(dim=0).tolist() == pytest.approx(answer, abs=1e-3)
    assert expected.decided().mean() > 0.5 or count < 8


def test_an_image_on_its_threshold_may_leave_or_stay(network):
    batch = images(6).float()
    sure = [logits.softmax(dim=1).amax(dim=1) for logits in network.forward_exits(batch)]
    row = int(sure[0].argmin())
    expected = Reference(network, ExitPolicy((float(sure[0][row]), 0.0, 1.0))).answer(batch.numpy())
    assert expected.possible[row].tolist() == [True, True, False, False]
    assert expected.decided().tolist() == [number != row for number in range(6)]
    routes = Routes()
    for exit in (1, 2, 3):
        found = expected.exits.copy()
        found[row] = exit
        routes.add(found, expected)
    counted = routes.proof()
    assert (counted.wrong, counted.undecided, counted.other) == (1, 3, 1)
    assert sum(counted.taken) == 18
    assert counted.taken[2] == 1


def small_emgnet():
    torch.manual_seed(0)
    network = EMGNet(tuple(stage._replace(n=1) for stage in EMGNET56_CIFAR), False, num_classes=5)
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize("policy", [None, ExitPolicy((0.25, 0.25))], ids=["last exit", "policy"])
def test_logits_behind_a_gate_at_its_edge_are_not_compared(policy):
    network = small_emgnet()
    batch = torch.randn(4, 3, 32, 32)
    gates = [module for module in network.modules() if isinstance(module, ChannelGate)]
    assert Reference(network, policy).answer(batch.numpy()).compared.all()
    seen = []
    hook = gates[len(gates) // 2].register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0].abs().mean(dim=(2, 3)))
    )
    network(batch)
    hook.remove()
    gates[len(gates) // 2].threshold[3] = seen[0][1, 3]  # the second image
    answer = Reference(network, policy).answer(batch.numpy())
    before = [] if policy is None else [True] * (answer.compared.shape[1] - 2)
    behind = [False] if policy is None else [False, False]
    assert answer.compared[1].tolist() == before + behind
    assert answer.compared[[0, 2, 3]].all()
    if policy is not None:
        assert answer.possible[1, 1] == (answer.exits[1] > 1)


class Runner:
    """Answers as a file would: by another program than the proof's, image by image."""

    def __init__(self, network, policy, spoil=None):
        self.network, self.policy, self.spoil = network, policy, spoil

    def __call__(self, batch):
        images = torch.from_numpy(batch)
        with torch.inference_mode():
            every = torch.stack(self.network.forward_exits(images), dim=1).numpy()
        exits = np.array([slow(rows.tolist(), self.policy)[1] for rows in every])
        if self.spoil is not None:
            self.spoil(every, exits)
        temperatures = np.array(self.policy.temperatures)[exits - 1, None]
        logits = (every[np.arange(len(exits)), exits - 1] / temperatures).astype(np.float32)
        return logits, torch.from_numpy(logits).softmax(dim=1).numpy(), exits


def chosen():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    return ProofImages(tuple(map(Image.fromarray, pixels)), "noise", ("test",))


def normalised():
    return PREPROCESSING.normalise(np.stack([PREPROCESSING.pixels(each) for each in chosen().images]))


def splitting(network):
    """Return thresholds that part of the images reach."""
    every = network.forward_exits(torch.from_numpy(normalised()))[:-1]
    scaled = [logits / temperature for logits, temperature in zip(every, TEMPERATURES, strict=False)]
    return ExitPolicy(
        tuple(float(z.softmax(dim=1).amax(dim=1).quantile(0.6)) for z in scaled), "confidence", TEMPERATURES
    )


def proof_of(network, spoil=None):
    policy = splitting(network)
    return prove(Runner(network, policy, spoil), network, PREPROCESSING, chosen(), "a test", policy=policy)


def test_a_right_file_is_proven_and_its_exits_counted(network):
    routes = proof_of(network).routes
    assert (routes.wrong, routes.other) == (0, 0)
    assert sum(routes.taken) == 40 + 28 + 14  # images, odd pictures, a batch of seven and its images alone
    assert min(routes.taken) > 0
    exits = StagedClassifier(network, splitting(network))(torch.from_numpy(normalised())).exits
    assert (torch.bincount(exits, minlength=5)[1:] <= torch.tensor(routes.taken)).all()


def one_elsewhere(logits, exits):
    if len(exits) == 7:
        exits[5] = exits[5] % 4 + 1


def test_one_image_that_leaves_elsewhere_fails(network):
    with pytest.raises(ProofFailed, match="answers come from another exit"):
        proof_of(network, one_elsewhere)


def test_exits_that_are_none_fail(network):
    def none(logits, exits):
        exits[0] = 0

    with pytest.raises(ProofFailed, match="answers come from another exit"):
        proof_of(network, none)


def test_logits_of_another_exit_fail(network):
    def moved(logits, exits):
        logits[:, 0] = logits[:, 1]

    with pytest.raises(ProofFailed, match="logits differ by"):
        proof_of(network, moved)
