"""Files for OpenVINO and ExecuTorch: the answers of the network, asked by nothing but the runtimes' own interface."""

import json
import subprocess
import sys

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from leannet.deploy.export import export_network
from leannet.models import create_network
from leannet.training import save_model_folder
from leannet_runtime import Preprocessing, UserError, load
from leannet_runtime.files import write_files

pytestmark = pytest.mark.slow

CLASSES = ("<script>", 'quote "', "naïve & more", "d", "e")
PREPROCESSING = Preprocessing(32, crop_pct=0.9, interpolation="bicubic")


def saved(name, path):
    torch.manual_seed(0)
    network = create_network(name, num_classes=5, img_size=32)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.bias, std=0.3)
            module.momentum = 0.5
    with torch.no_grad():
        for _ in range(4):
            network.train()(torch.randn(8, 3, 32, 32))
    save_model_folder(network, path, CLASSES, PREPROCESSING)
    return path


def loaded(folder):
    return timm.create_model(f"local-dir:{folder}", pretrained=True).eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return saved("sm_v2", tmp_path_factory.mktemp("network"))


@pytest.fixture(scope="module")
def dmp_folder(tmp_path_factory):
    return saved("efficientnet_b0_dmp", tmp_path_factory.mktemp("dmp"))


@pytest.fixture(scope="module")
def network(folder):
    return loaded(folder)


def compiled(path):
    pytest.importorskip("openvino", reason="openvino is not installed")
    from leannet.deploy.formats.openvino_core import openvino_core

    return openvino_core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


@pytest.fixture(scope="module")
def exported(folder, tmp_path_factory):
    pytest.importorskip("openvino", reason="openvino is not installed")
    path = tmp_path_factory.mktemp("openvino") / "model.xml"
    return export_network(folder, path, file_format="openvino", check_images=20)


def test_signals_are_survived_after_a_proof(folder, tmp_path):
    """Each core of OpenVINO brings a stack for signals; two of them leave one that is freed."""
    pytest.importorskip("openvino", reason="openvino is not installed")
    code = (
        "import signal\n"
        "from pathlib import Path\n"
        "from leannet.deploy.export import export_network\n"
        "caught = []\n"
        "signal.signal(signal.SIGINT, lambda number, frame: caught.append(number))\n"
        f"export_network(Path({str(folder)!r}), Path('model.xml'), file_format='openvino', check_images=20)\n"
        "signal.raise_signal(signal.SIGINT)\n"
        "print(len(caught))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.returncode) == ("1\n", 0), done.stderr


def pillows_input(pixels):
    """Prepare an image by pillow and numpy alone."""
    image = Image.fromarray(pixels)
    short = int(32 / 0.9)
    width, height = (side * short // min(image.size) for side in image.size)
    left, top = round((width - 32) / 2), round((height - 32) / 2)
    square = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))[top : top + 32, left : left + 32]
    normalised = (square / 255 - np.array(PREPROCESSING.mean)) / np.array(PREPROCESSING.std)
    return torch.from_numpy(normalised.transpose(2, 0, 1).astype(np.float32))


@pytest.mark.parametrize(("height", "width"), [(43, 61), (32, 32), (200, 90), (9, 20)])
def test_openvino_takes_raw_pixels_of_any_size(exported, network, height, width):
    random = np.random.default_rng(0)
    for count in (1, 3):
        pixels = random.integers(0, 256, (count, height, width, 3), dtype=np.uint8)
        with torch.inference_mode():
            wanted = network(torch.stack([pillows_input(each) for each in pixels]))
        found = compiled(exported.path)(pixels)
        # A pixel may lie one level of 255 beside pillow's.
        np.testing.assert_allclose(found["logits"], wanted, atol=0.01 * float(wanted.abs().max()))
        np.testing.assert_allclose(found["probabilities"], wanted.softmax(dim=1), atol=0.01)


def test_openvino_files_say_what_the_onnx_file_says(exported):
    openvino = pytest.importorskip("openvino", reason="openvino is not installed")
    assert sorted(path.name for path in exported.path.parent.iterdir()) == ["model.bin", "model.xml"]
    model = openvino.Core().read_model(exported.path)
    said = json.loads(model.get_rt_info(["leannet"]).astype(str))
    assert said["label_names"] == list(CLASSES)
    assert (said["architecture"], said["preprocess"], said["proof"]["images"]) == ("sm_v2", "inside", 20)
    assert model.get_rt_info(["task"]).astype(str) == "classify"
    assert model.get_rt_info(["names"]).astype(str) == str(dict(enumerate(CLASSES)))
    kinds = {node.get_element_type() for node in model.get_ops() if node.get_type_name() == "Constant"}
    assert openvino.Type.f16 not in kinds
    parameters = said["parameters"]
    assert exported.path.with_suffix(".bin").stat().st_size > 0.9 * 4 * parameters


def test_openvino_without_preprocessing(folder, network, tmp_path):
    pytest.importorskip("openvino", reason="openvino is not installed")
    path = tmp_path / "outside.xml"
    done = export_network(folder, path, file_format="openvino", preprocess="outside", check_images=10)
    assert done.proof.pixel_levels is None
    images = torch.randn(3, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(
            torch.from_numpy(compiled(path)(images)["logits"]), network(images), rtol=0, atol=1e-4
        )


def test_duplicate_max_pooling_takes_the_form_that_openvino_is_fast_with(dmp_folder, tmp_path):
    openvino = pytest.importorskip("openvino", reason="openvino is not installed")
    path = tmp_path / "dmp.xml"
    done = export_network(dmp_folder, path, file_format="openvino", preprocess="outside", check_images=20)
    assert (done.proof.agreement, done.proof.images) == (100, 20)
    kinds = [node.get_type_name() for node in openvino.Core().read_model(path).get_ops()]
    assert "ReduceMax" not in kinds
    assert kinds.count("Maximum") == 9 * 5  # of six maps in each of nine blocks
    images = torch.randn(3, 3, 32, 32)
    with torch.inference_mode():
        wanted = loaded(dmp_folder)(images)
    torch.testing.assert_close(torch.from_numpy(compiled(path)(images)["logits"]), wanted, rtol=0, atol=1e-4)


def test_leannet_says_who_opens_another_file(exported):
    with pytest.raises(UserError, match=r"this is an OpenVINO file\. Open it as openvino\.compile_model\("):
        load(exported.path)


def test_nearest_is_left_outside_of_openvino(folder, network, tmp_path):
    pytest.importorskip("openvino", reason="openvino is not installed")
    save_model_folder(network, tmp_path / "nearest", CLASSES, Preprocessing(32, interpolation="nearest"))
    with pytest.raises(UserError, match=r"pillow in double precision\. Pass --preprocess outside"):
        export_network(tmp_path / "nearest", tmp_path / "a.xml", file_format="openvino", check_images=10)
    assert not (tmp_path / "a.xml").exists()


@pytest.mark.parametrize("name", ["folder", "dmp_folder"])
def test_executorch(request, name, tmp_path):
    runtime = pytest.importorskip("executorch.runtime", reason="executorch is not installed")
    path, folder = tmp_path / "model.pte", request.getfixturevalue(name)
    network = loaded(folder)
    export_network(folder, path, file_format="executorch", preprocess="outside", check_images=10)
    program = runtime.Runtime.get().load_program(path)
    [said] = program.load_method("leannet").execute([])
    assert json.loads(said)["label_names"] == list(CLASSES)
    forward = program.load_method("forward")
    for count in (1, 8):
        images = torch.randn(count, 3, 32, 32)
        with torch.inference_mode():
            torch.testing.assert_close(forward.execute([images])[0], network(images), rtol=0, atol=1e-4)
    with pytest.raises(RuntimeError):
        forward.execute([torch.randn(9, 3, 32, 32)])


def test_of_two_files_both_are_new_or_both_are_old(tmp_path):
    """The second does not fit onto the disk."""
    first, second = tmp_path / "model.bin", tmp_path / "model.xml"
    for path in (first, second):
        path.write_text("old")

    def full(path):
        path.write_text("ne")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"cannot write .*model\.xml: No space left"):
        write_files({first: lambda path: path.write_text("new"), second: full})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"model.bin": "old", "model.xml": "old"}
    write_files(dict.fromkeys((first, second), lambda path: path.write_text("new")))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"model.bin": "new", "model.xml": "new"}
