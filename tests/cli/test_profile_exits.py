"""`leannet profile` of networks with exits, against multiplications that are counted here by hand."""

import json

import numpy as np
import pytest
import timm
import torch
from command_line import TREES, leannet, make_images, refusal
from model_folders import make_model_folder
from PIL import Image
from torch import nn

from leannet.blocks import MultiScaleConv2d
from leannet.models import attach_exits, create_network
from leannet.papers import published
from leannet.training import save_model_folder
from leannet_runtime import Preprocessing

SIZE = 16
RING, CENTRE = 25 - 9, 9  # multiplications of a 5x5 kernel around its 3x3


def profile(*arguments):
    answer = leannet("profile", *arguments, "--json")
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


def count_up_to(model, last, size):
    """Count for one image that leaves at an exit, gates closed, and what open gates would add."""
    macs = ring = 0

    def add(module, given, output):
        nonlocal macs, ring
        if isinstance(module, MultiScaleConv2d):  # depthwise
            macs += output[0].numel() * CENTRE
            ring += output[0].numel() * RING
        elif isinstance(module, nn.ConvTranspose2d):
            macs += given[0].numel() * module.weight[0].numel()
        elif isinstance(module, nn.Conv2d):
            macs += output[0].numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            macs += output[0].numel() * module.in_features

    hooks = [module.register_forward_hook(add) for module in model.modules()]
    x = torch.zeros(1, 3, size, size)
    with torch.no_grad():
        for index in range(last + 1):
            x = model.eval().run_segment(index, x)
            model.exit_logits(index, x)
    for hook in hooks:
        hook.remove()
    return macs, macs + ring


def images_in(folder):
    files = sorted(folder.rglob("*.png"))
    return Preprocessing(SIZE, crop_pct=1.0).normalise(np.stack([np.asarray(Image.open(path)) for path in files]))


@pytest.fixture(scope="module")
def plain(trees, tmp_path_factory):
    return make_model_folder(tmp_path_factory.mktemp("plain") / "net", trees)


@pytest.fixture(scope="module")
def attached(plain, tmp_path_factory):
    folder = tmp_path_factory.mktemp("attached") / "net"
    save_model_folder(
        attach_exits(create_network(str(plain)), img_size=SIZE), folder, TREES, Preprocessing(SIZE, crop_pct=1.0)
    )
    return folder


@pytest.fixture(scope="module")
def gated(trees, tmp_path_factory):
    """A network whose gates are open for some of the images."""
    folder = tmp_path_factory.mktemp("gated") / "net"
    torch.manual_seed(0)
    model = create_network("emgnet56_cifar", num_classes=len(TREES), img_size=SIZE).train()
    images = torch.from_numpy(images_in(trees / "train"))

    def choose(gate, given):
        strengths = given[0].abs().mean(dim=(2, 3))
        gate.threshold.data = strengths.quantile(torch.rand(strengths.shape[1]).mul(0.8).add(0.1), dim=0).diagonal()

    hooks = [
        module.gate.register_forward_pre_hook(choose) for module in model.modules() if hasattr(module, "ring_macs")
    ]
    with torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()
    save_model_folder(model, folder, TREES, Preprocessing(SIZE, crop_pct=1.0))
    return folder


@pytest.mark.parametrize("name", ["emgnet56_cifar", "sdresnet56_cifar", "scanresnet56_cifar"])
def test_costs_of_each_exit(name):
    [row] = profile(name, "--num-classes", 10)
    model = timm.create_model(name, num_classes=10)
    exits = [each for each in row["exits"] if each["exit"] != "ensemble"]
    assert [each["exit"] for each in exits] == [1, 2, 3]
    for index, each in enumerate(exits):
        expected = count_up_to(model, index, 32)
        assert (each["macs_closed"], each["macs_open"]) == expected
        assert "macs_measured" not in each
    assert "gates" not in row


def test_printed_figures_stand_beside():
    [row] = profile("emgnet56_cifar", "--num-classes", 10)
    printed = {figure.exit: figure for figure in published("emgnet56_cifar", "macs")}
    assert set(printed) == {1, 2, 3, "ensemble"}
    assert [each["exit"] for each in row["exits"]] == [1, 2, 3, "ensemble"]
    for each in row["exits"]:
        [figure] = each["published"]
        assert figure["value"] == printed[each["exit"]].value
        ours = 100 * (each["macs_open"] / figure["value"] - 1)
        assert figure["difference_percent"] == pytest.approx(ours, abs=1e-3)
    lines = leannet("profile", "emgnet56_cifar", "--num-classes", 10).out.splitlines()
    [line] = [line for line in lines if line.split()[:1] == ["1"]]
    difference = row["exits"][0]["published"][0]["difference_percent"]
    millions = [f"{row['exits'][0][column] / 1e6:.2f}" for column in ("macs_closed", "macs_open")]
    assert line.split() == ["1", millions[0], "M", millions[1], "M", "45", "M", f"{difference:+.2f}", "%"]
    assert any("printed in emgnet: Figure 3" in line and line.endswith("gates open") for line in lines)
    lines = leannet("profile", "sdresnet56_cifar", "--num-classes", 10).out.splitlines()
    [printed] = [line for line in lines if "printed in emgnet: Figure 3" in line]
    assert "gates" not in printed, "it has none"
    # With other classes or another size the plot shows another network.
    for other in (("--num-classes", 7), ("--num-classes", 10, "--img-size", 40)):
        [row] = profile("emgnet56_cifar", *other)
        assert [each["published"] for each in row["exits"]] == [[], [], []]


def test_attached_exits_have_one_column(attached):
    [row] = profile(attached)
    model = timm.create_model(f"local-dir:{attached}", pretrained=True)
    assert [(each["macs_closed"], each["macs_open"]) for each in row["exits"]] == [
        count_up_to(model, index, SIZE) for index in range(3)
    ]
    out = leannet("profile", attached).out
    [heading] = [line.split() for line in out.splitlines() if line.startswith("exit ")]
    assert heading == ["exit", "MACs"]


def test_a_network_without_exits_has_no_such_table(plain):
    [row] = profile(plain)
    assert "exits" not in row
    assert not any(line.startswith("exit ") for line in leannet("profile", plain).out.splitlines())


def test_measured_costs_are_the_mean_over_the_images(trees, gated):
    """Each image pays for the rings that its own gates open."""
    [row] = profile(gated, "--data", trees)
    model = timm.create_model(f"local-dir:{gated}", pretrained=True).eval()
    images = torch.from_numpy(images_in(trees / "test"))
    paid, shares = torch.zeros(len(images)), {}

    def pay(name):
        def hook(_, given, decision):
            nonlocal paid
            positions = given[0].shape[-1] * given[0].shape[-2]
            paid = paid + decision.flatten(1).sum(1) * positions * RING
            shares[name] = float(decision.mean())

        return hook

    for name, module in model.named_modules():
        if isinstance(module, MultiScaleConv2d):
            module.gate.register_forward_hook(pay(name))
    means, x = [], images
    with torch.no_grad():
        for index in range(3):
            x = model.run_segment(index, x)
            means.append(float(paid.double().mean()))
    found = {each["exit"]: each for each in row["exits"]}
    for index, mean in enumerate(means):
        closed = found[index + 1]["macs_closed"]
        assert found[index + 1]["macs_measured"] == pytest.approx(closed + mean, rel=1e-9)
        assert closed < closed + mean < found[index + 1]["macs_open"]
    assert row["gates"]["open"] == pytest.approx(shares)
    assert (row["gates"]["split"], row["gates"]["images"]) == ("test", len(images))
    said = leannet("profile", gated, "--data", trees).out
    [heading] = [line.split() for line in said.splitlines() if line.startswith("exit ")]
    assert heading == ["exit", "MACs,", "gates", "closed", "gates", "open", "as", "measured"]
    assert f"{100 * sum(shares.values()) / len(shares):.1f} % of the gates open in the mean of" in said
    assert f"on {len(images)} images of the test part" in said


def test_the_validation_part_is_taken_where_there_is_no_test_part(gated, tmp_path):
    folders = {f"train/{name}": 2 for name in TREES} | {f"val/{name}": 3 for name in TREES}
    [row] = profile(gated, "--data", make_images(tmp_path / "images", folders))
    assert (row["gates"]["split"], row["gates"]["images"]) == ("validation", 9)


def test_mistakes_with_data(trees, plain, attached, gated, tmp_path):
    assert refusal("profile", "emgnet56_cifar", "--data", trees) == (
        "leannet: --data with emgnet56_cifar: gates that have not learned are open by chance. "
        "Give a model folder, or leave --data away."
    )
    for folder in (plain, attached):
        assert refusal("profile", folder, "--data", trees) == (
            f"leannet: --data with {folder}: it has no gates that could be open or closed. Leave --data away."
        )
    said = refusal("profile", gated, "--data", tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in said
