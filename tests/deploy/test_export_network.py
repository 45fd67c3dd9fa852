"""Networks of every kind as ONNX graphs: the same logits for any number of images, in one file that says what it is."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import timm
import torch
from PIL import Image

from leannet.data import open_source
from leannet.deploy.export import export_network
from leannet.deploy.formats.network_graph import network_graph
from leannet.deploy.proof import ProofFailed, prove
from leannet.deploy.proof_images import ProofImages, choose_images, odd_images
from leannet.models import create_network
from leannet.models.emgnet import EMGNET56_CIFAR, EMGNet
from leannet.training import save_model_folder
from leannet_runtime import Preprocessing, load

pytestmark = pytest.mark.slow

# One of each kind, for the exporter takes long.
NETWORKS = [
    ("sm_v2", 32),
    ("efficientnet_b0_dmp", 32),
    ("mobilenetv2_cse", 32),
    ("emgnet", 32),
    ("convnext_atto", 64),
]


def trained(name, size):
    """Make a network whose batch norms have seen something, so that folding them wrongly would show."""
    torch.manual_seed(0)
    network = small_emgnet() if name == "emgnet" else create_network(name, num_classes=5, img_size=size)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.3)
            module.momentum = 0.5
    network.train()
    with torch.no_grad():
        for _ in range(4):
            network(torch.randn(8, 3, size, size))
    return network.eval()


def small_emgnet():
    """EMGNet with one block in each stage, with its gates and its masked convolutions."""
    return EMGNet(tuple(stage._replace(n=1) for stage in EMGNET56_CIFAR), False, num_classes=5)


@pytest.mark.parametrize(("name", "size"), NETWORKS, ids=[each[0] for each in NETWORKS])
def test_logits_are_those_of_the_network(name, size):
    network = trained(name, size)
    model = network_graph(network, size, 18, "image", name)
    onnx.checker.check_model(model, full_check=True)
    made_by = {output: node.op_type for node in model.graph.node for output in node.output}
    norms = [made_by[node.input[0]] for node in model.graph.node if node.op_type == "BatchNormalization"]
    assert set(norms) <= ({"Add"} if name == "emgnet" else set())  # the others are folded into their convolutions
    assert {node.domain for node in model.graph.node} <= {""}
    assert b"site-packages" not in model.SerializeToString()  # no traces of this machine
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for count in (1, 2, 7):
        images = torch.randn(count, 3, size, size)
        with torch.inference_mode():
            wanted = network(images)
        logits, probabilities = session.run(["logits", "probabilities"], {"image": images.numpy()})
        assert np.abs(logits - wanted.numpy()).max() <= 1e-4 * float(wanted.abs().max())
        np.testing.assert_allclose(probabilities, wanted.double().softmax(dim=1), atol=1e-4)
    assert wanted.std(dim=0).max() > 1e-3  # the images are told apart


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    network = trained("resnet20_cifar", 32)
    path = tmp_path_factory.mktemp("network")
    save_model_folder(network, path, tuple("abcde"), Preprocessing(32, crop_pct=0.9, interpolation="bilinear"))
    return path


@pytest.fixture(scope="module")
def exported(folder):
    return export_network(folder, folder / "inside.onnx", check_images=30)


def test_one_file_with_all_that_a_reader_needs(folder, exported):
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "inside.onnx", "model.safetensors"]
    model = onnx.load(exported.path)
    onnx.checker.check_model(model, full_check=True)
    assert [each.version for each in model.opset_import] == [18]
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["task"] == "classify"
    assert metadata["imgsz"] == "[32, 32]"
    assert metadata["names"] == "{0: 'a', 1: 'b', 2: 'c', 3: 'd', 4: 'e'}"
    assert metadata["channels"] == "3"
    assert {"description", "author", "date", "version", "license"} < metadata.keys()
    said = json.loads(metadata["leannet"])
    assert said["format"] == 1
    assert said["architecture"] == "resnet20_cifar"
    assert said["preprocess"] == "inside"
    assert Preprocessing.from_pretrained_cfg(said["preprocessing"]) == Preprocessing(32, 0.9, "bilinear")
    assert said["parameters"] == sum(weight.numel() for weight in timm.create_model(f"local-dir:{folder}").parameters())
    assert said["accuracy"] is said["early_exit"] is said["int8"] is None
    assert said["proof"]["images"] == 30
    assert said["proof"]["odd_images"] == 28
    assert said["proof"]["agreement"] == 100
    assert any("compared on digits" in note for note in said["proof"]["notes"])


def test_the_runtime_answers_as_timm_does(folder, exported):
    predictor = load(exported.path)
    network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    preprocessing = Preprocessing(32, 0.9, "bilinear")
    pixels = np.random.default_rng(0).integers(0, 256, (5, 43, 61, 3), dtype=np.uint8)
    pictures = [Image.fromarray(each) for each in pixels]
    with torch.inference_mode():
        wanted = network(
            torch.from_numpy(np.stack([preprocessing.normalise(preprocessing(each)) for each in pictures]))
        )
    found = predictor.run(pixels).logits
    # Some pixels lie one level of 255 beside pillow's.
    np.testing.assert_allclose(found, wanted, atol=0.02 * float(wanted.abs().max()))


def test_a_program_of_torch_export_answers_too(folder):
    done = export_network(
        folder, folder / "program.pt2", file_format="torch-export", preprocess="outside", check_images=10
    )
    said = {"leannet.json": ""}
    module = torch.export.load(done.path, extra_files=said).module()
    network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    for count in (1, 7):
        images = torch.randn(count, 3, 32, 32)
        torch.testing.assert_close(module(images)[0], network(images), rtol=1e-4, atol=1e-4)
    assert json.loads(json.loads(said["leannet.json"])["leannet"])["preprocess"] == "outside"
    done.path.unlink()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda logits: logits * 1.01, "logits differ by"),
        (lambda logits: np.roll(logits, 1, axis=1), "of the answers agree"),
        (lambda logits: logits * np.nan, "logits differ by nan"),
        (lambda logits: logits + 0.1 * (len(logits) == 7), "a batch of 7 and single images differ"),
    ],
)
def test_a_runner_that_answers_something_else_fails(folder, spoil, words):
    network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    preprocessing = Preprocessing(32, 0.9, "bilinear")
    chosen = choose_images(folder, None, 12)

    def run(batch):
        with torch.inference_mode():
            logits = network(torch.from_numpy(batch))
        return spoil(logits.numpy()), logits.softmax(dim=1).numpy()

    with pytest.raises(ProofFailed, match=words):
        prove(run, network, preprocessing, chosen, "a test")


def test_other_preprocessing_is_noticed(folder):
    """A graph that resizes by another filter answers nearly the same, so that only the pixels give it away."""
    network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    right, wrong = Preprocessing(32, 0.9, "bilinear"), Preprocessing(32, 0.9, "bicubic")
    images = tuple(
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)) for _ in "ab"
    )

    def prepare(batch):
        return wrong.normalise(np.stack([wrong.pixels(Image.fromarray(each)) for each in batch]))

    def run(batch):
        with torch.inference_mode():
            logits = network(torch.from_numpy(prepare(batch)))
        return logits.numpy(), logits.softmax(dim=1).numpy()

    with pytest.raises(ProofFailed, match="pixels differ by"):
        prove(run, network, right, ProofImages(images, "noise", ("test",)), "a test", prepare)


def test_odd_pictures_are_odd_and_the_same_each_time():
    images = open_source("digits").splits["test"]
    some = tuple(images.read(number) for number in range(3))
    made = odd_images(some, 32, 28)
    assert [each.tobytes() for each in made] == [each.tobytes() for each in odd_images(some, 32, 28)]
    sizes = {each.size for each in made}
    assert {(1, 1), (1, 16), (16, 1)} < sizes
    assert len(sizes) > 20
    assert any(min(size) > 32 for size in sizes)
