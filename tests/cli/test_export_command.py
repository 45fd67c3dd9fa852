"""``leannet export`` after a short run on the digits, what its file answers, and what it refuses."""

import errno
import importlib
import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from command_line import leannet as run_command
from command_line import refusal
from PIL import Image

from leannet.data import open_source
from leannet.deploy.formats import onnx_file
from leannet_runtime import Preprocessing, load

pytestmark = pytest.mark.slow

TRAIN = ("train", "resnet20_cifar", "--data", "digits", "--img-size", 16, "--batch-size", 64, "--warmup-epochs", 0)


def leannet(folder, *arguments):
    """Run a command in a folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return run_command(*arguments)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    found = leannet(folder, *TRAIN, "--epochs", 1, "--output", "run")
    assert found.code == 0, found.err
    return folder


@pytest.fixture(scope="module")
def exported(run):
    found = leannet(run, "export", "run/best")
    assert found.code == 0, found.err
    return run / "run" / "best" / "model.onnx", found


def test_it_says_how_far_file_and_network_are_apart(exported):
    path, found = exported
    assert re.search(r"top-1 agreement +(99|100)\.\d+ % +at least 99 %", found.out)
    assert re.search(r"largest pixel difference from pillow +[01] of 255", found.out)
    assert "200 images of digits (test) and 28 pictures of odd sizes, in batches of 1, 2 and 7" in found.out
    assert "Next: leannet predict run/best/model.onnx IMAGES" in found.out
    assert [each.name for each in path.parent.iterdir() if each.name.startswith(".")] == []


def test_the_file_says_what_was_measured(run, exported):
    path, _ = exported
    metadata = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    said = json.loads(metadata["leannet"])
    results = json.loads((run / "run" / "results.json").read_text())
    accuracy = said["accuracy"]
    assert accuracy["value"] == results["test"]["top1"]["value"]
    assert (accuracy["split"], accuracy["data"], accuracy["images"]) == ("test", "digits", results["test"]["total"])
    assert said["macs"] == results["macs"]
    assert said["label_names"] == [str(digit) for digit in range(10)]
    assert said["proof"]["parts"] == ["test"]


def test_the_file_is_as_accurate_as_the_run_says(run, exported):
    """All test images through the file alone, with nothing of torch: the accuracy is that of the run."""
    path, _ = exported
    predictor = load(path)
    test = open_source("digits").splits["test"]
    answers = predictor.run([test.read(number) for number in range(len(test))]).logits.argmax(axis=1)
    results = json.loads((run / "run" / "results.json").read_text())
    assert abs((answers == test.labels).sum() - results["test"]["correct"]) <= 1


def test_outside_prints_a_program_that_asks_the_file(run, tmp_path):
    found = leannet(run, "export", "run/best", "--preprocess", "outside", "-o", tmp_path / "new" / "file.onnx")
    assert found.code == 0, found.err
    program = found.out.partition("Without leannet:\n\n")[2].partition("\nNext:")[0]
    pixels = np.random.default_rng(0).integers(0, 256, (23, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    names = {}
    exec(program.replace("image.jpg", str(tmp_path / "image.png")), names)
    session = onnxruntime.InferenceSession(tmp_path / "new" / "file.onnx")
    described = json.loads((run / "run" / "best" / "config.json").read_text())["pretrained_cfg"]
    preprocessing = Preprocessing.from_pretrained_cfg(described)
    batch = preprocessing.normalise(preprocessing.pixels(Image.fromarray(pixels)))[None]
    wanted = session.run(["logits"], {"image": batch})[0]
    np.testing.assert_allclose(names["logits"], wanted, atol=1e-4 * np.abs(wanted).max())
    assert len(program.strip().splitlines()) == 10


def test_a_file_that_answers_something_else_is_not_left(run, tmp_path, monkeypatch):
    """One weight of the graph is changed before the proof."""
    make = onnx_file.onnx_model

    def broken(*arguments):
        model = make(*arguments)
        weight = max(model.graph.initializer, key=lambda each: np.prod(each.dims))
        values = onnx.numpy_helper.to_array(weight).copy()
        values.flat[: len(values.flat) // 2] *= -1
        weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
        return model

    monkeypatch.setattr(onnx_file, "onnx_model", broken)
    found = leannet(run, "export", "run/best", "-o", tmp_path / "broken.onnx", "--check-images", 10)
    assert found.code == 3
    assert "leannet: the file does not answer as run/best does: " in found.err
    assert "logits differ by" in found.err
    assert "It is not written." in found.err
    assert list(tmp_path.iterdir()) == []


def test_openvino_files_with_damaged_weights_are_not_left(run, tmp_path, monkeypatch):
    """The bytes of the weights are damaged as they are written, after all that made them was right."""
    openvino_file = pytest.importorskip("leannet.deploy.formats.openvino_file", reason="openvino is not installed")
    right = openvino_file._contents

    def damaged(model):
        xml, weights = right(model)
        layer = re.search(rb'shape="64, 64, 3, 3" offset="([0-9]+)" size="([0-9]+)"', xml)
        begin, size = map(int, layer.groups())
        values = np.frombuffer(weights, np.uint8).copy()
        values[begin + 3 : begin + size : 4] ^= 0x80  # the signs of the floats
        return xml, values.tobytes()

    monkeypatch.setattr(openvino_file, "_contents", damaged)
    options = ("--format", "openvino", "--preprocess", "outside", "--check-images", 10)
    found = leannet(run, "export", "run/best", "-o", tmp_path / "broken.xml", *options)
    assert found.code == 3, found.err
    assert "logits differ by" in found.err
    assert list(tmp_path.iterdir()) == []


def test_an_older_file_stays_when_the_new_one_fails(run, tmp_path, monkeypatch):
    proof = importlib.import_module("leannet.deploy.proof")
    monkeypatch.setitem(proof.BARS, "agreement", 100.1)
    (tmp_path / "old.pt2").write_bytes(b"old")
    found = leannet(
        run, "export", "run/best", "--format", "torch-export", "-o", tmp_path / "old.pt2", "--check-images", 10
    )
    assert found.code == 3
    assert "% of the answers agree, wanted 100.1 %" in found.err
    assert "the one that was there stays" in found.err
    assert (tmp_path / "old.pt2").read_bytes() == b"old"


@pytest.mark.parametrize("options", [("--format", "torch-export"), ()], ids=["by format", "by ending"])
def test_torch_export(run, tmp_path, options):
    found = leannet(run, "export", "run/best", *options, "-o", tmp_path / "a.pt2")
    assert found.code == 0, found.err
    assert "Next: torch.export.load(" in found.out
    logits, probabilities = torch.export.load(tmp_path / "a.pt2").module()(torch.zeros(3, 3, 16, 16))
    assert logits.shape == probabilities.shape == (3, 10)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere",), "nowhere is no model folder: no such folder"),
        (("run",), "Give run/best"),
        (("run/best", "--opset", 17), "--opset 17: the preprocessing needs version 18 of the operators"),
        (("run/best", "--opset", 99), "--opset 99: .* installed onnx ends at"),
        (("run/best", "--format", "tflite"), "--format tflite: there is no such. Choose from onnx, torch-export"),
        (("run/best", "--preprocess", "both"), "--preprocess both: it is neither inside nor outside"),
        (("run/best", "--format", "torch-export", "--preprocess", "inside"), "holds the network alone"),
        (("run/best", "--check-data", "nowhere"), "cannot open nowhere: no such file or folder"),
        (("run/best", "-o", "run"), "cannot write run: it is a folder. Give a file, say run/model.onnx"),
        (("run/best", "--format", "openvino", "-o", "run"), "Give a file, say run/model.xml"),
        (("run/best", "--format", "openvino", "-o", "new/a.bin"), "cannot write new/a.bin: .* Give new/a.xml"),
        (("run/best", "--format", "executorch", "--preprocess", "inside"), "a program of ExecuTorch holds the network"),
        (("run/best", "-o", "run/args.yaml/model.onnx"), "cannot write .*args.yaml: "),
    ],
)
def test_mistakes_are_one_line(run, monkeypatch, arguments, words):
    monkeypatch.chdir(run)
    before = sorted(run.rglob("*"))
    assert re.search(words, refusal("export", *arguments))
    assert sorted(run.rglob("*")) == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_read_only(run, tmp_path, monkeypatch):
    monkeypatch.chdir(run)
    tmp_path.chmod(0o500)
    assert "cannot write" in refusal("export", "run/best", "-o", tmp_path / "model.onnx")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="there is no /proc, where not even root may write")
def test_a_place_where_nobody_may_write(run, monkeypatch):
    monkeypatch.chdir(run)
    assert "cannot write /proc" in refusal("export", "run/best", "-o", "/proc/self/model.onnx")


def test_a_full_disk(run, tmp_path, monkeypatch):
    """The disk takes half of the file."""
    write = Path.write_bytes

    def half(path, data):
        write(path, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.chdir(run)
    write(tmp_path / "model.pt2", b"old")
    monkeypatch.setattr(Path, "write_bytes", half)
    options = ("--format", "torch-export", "--check-images", 10)
    said = refusal("export", "run/best", "-o", tmp_path / "model.pt2", *options)
    assert "No space left on device. Make room and run the command again." in said
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("model.pt2", b"old")]


@pytest.mark.parametrize(
    ("kind", "package", "remedy"),
    [
        ("openvino", "openvino", "pip install 'leannet[export,openvino]'"),
        ("executorch", "executorch", "pip install 'leannet[executorch]'"),
    ],
)
def test_a_missing_package_of_another_format_is_named(run, monkeypatch, kind, package, remedy):
    monkeypatch.chdir(run)
    monkeypatch.setitem(sys.modules, package, None)
    said = refusal("export", "run/best", "--format", kind)
    assert said == f"leannet: cannot export: {package} is not installed. {remedy}."


def test_a_missing_package_is_named(run, monkeypatch):
    monkeypatch.chdir(run)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    said = refusal("export", "run/best")
    assert said == "leannet: cannot export: onnxscript is not installed. pip install 'leannet[export]'."
