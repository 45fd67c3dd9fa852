"""``leannet export --int8`` from a trained network to a file that the runtime runs."""

import json
import shutil

import numpy as np
import onnx
import pytest
import timm
import torch
import yaml
from typer.testing import CliRunner

from leannet.data import open_source
from leannet.deploy.export import Int8, export_network
from leannet.deploy.int8.images import calibration_and_held_out
from leannet.deploy.proof import INT8_BARS, ProofFailed, prove
from leannet.deploy.proof_images import choose_images
from leannet.models import create_network
from leannet.training import save_model_folder
from leannet_cli.main import app
from leannet_runtime import Preprocessing, UserError, load

pytestmark = pytest.mark.slow

PREPROCESSING = Preprocessing(16, crop_pct=1.0, interpolation="bilinear")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A network that has learned the digits a little, as a run leaves it."""
    torch.manual_seed(0)
    source = open_source("digits")
    network = create_network("resnet20_cifar", num_classes=10, img_size=16).train()
    split = source.splits["train"]
    pixels = np.stack([PREPROCESSING.pixels(split.read(number)) for number in range(640)])
    images, labels = torch.from_numpy(PREPROCESSING.normalise(pixels)), torch.from_numpy(split.labels[:640])
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for order in [torch.randperm(640) for _ in range(4)]:
        for some in order.split(64):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(images[some]), labels[some]).backward()
            optimizer.step()
    run = tmp_path_factory.mktemp("run")
    (run / "args.yaml").write_text(yaml.safe_dump({"data": "digits", "val_fraction": 0.1}))
    save_model_folder(network.eval(), run / "best", source.class_names, PREPROCESSING)
    return run / "best"


def right(answers, labels):
    return 100 * float((answers.argmax(axis=1) == labels).mean())


@pytest.mark.parametrize("preprocess", ["inside", "outside"])
def test_a_file_of_8_bits_answers_and_says_how_it_was_made(folder, tmp_path, preprocess):
    path = tmp_path / "int8.onnx"
    export_network(folder, path, preprocess=preprocess, check_images=20, int8=Int8(calibration_images=64, max_drop=5.0))
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("QuantizeLinear") > 10
    assert sum(weight.data_type == onnx.TensorProto.INT8 for weight in model.graph.initializer) >= 20
    said = json.loads({entry.key: entry.value for entry in model.metadata_props}["leannet"])
    assert said["int8"]["rung"] == "per tensor"
    assert said["int8"]["calibration"] == {"images": 64, "data": "digits", "part": "train"}
    assert said["proof"]["bars"]["pixel_levels"] == 2
    # Judged again, by the runtime and by timm, on all test images, which are fewer than the cap.
    split = open_source("digits").splits["test"]
    pictures = [split.read(number) for number in range(len(split))]
    pixels = np.stack([PREPROCESSING.pixels(each) for each in pictures])
    found = load(path).run(pictures).logits
    network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    with torch.inference_mode():
        wanted = network(torch.from_numpy(PREPROCESSING.normalise(pixels))).numpy()
    assert said["int8"]["judged_on"] == {"images": len(split), "data": "digits", "part": "test"}
    assert said["int8"]["float_top1"] == pytest.approx(right(wanted, split.labels), abs=1e-9)
    assert right(wanted, split.labels) > 60
    assert said["accuracy"]["value"] == pytest.approx(right(found, split.labels), abs=1)
    assert said["int8"]["drop"]["value"] == pytest.approx(said["int8"]["float_top1"] - said["accuracy"]["value"])
    assert right(found, wanted.argmax(axis=1)) == pytest.approx(said["int8"]["agreement"], abs=1)


def test_calibration_takes_training_images_only(folder):
    calibration, held_out = calibration_and_held_out(folder, None, PREPROCESSING, 50)
    assert (len(calibration), calibration.part, held_out.part) == (50, "train", "test")
    seen = {each.tobytes() for each in held_out.pixels}
    assert sum(each.tobytes() in seen for each in calibration.pixels) == 0


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda logits: np.roll(logits, 1, axis=1), "of the answers agree"),
        (lambda logits: logits * np.nan, "logits differ by nan"),
        (lambda logits: logits + 2 * (len(logits) == 7), "a batch of 7 and single images differ"),
    ],
)
def test_the_proof_of_8_bits_still_finds_a_broken_file(folder, spoil, words):
    network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()

    def run(batch):
        with torch.inference_mode():
            logits = network(torch.from_numpy(batch))
        return spoil(logits.numpy()), logits.softmax(dim=1).numpy()

    with pytest.raises(ProofFailed, match=words):
        prove(run, network, PREPROCESSING, choose_images(folder, None, 12), "a test", bars=INT8_BARS)


def invoke(*arguments):
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


def test_nothing_is_written_when_too_much_is_lost(folder, tmp_path, monkeypatch):
    def rolled(self, rung):
        """A form that answers another class."""
        model, left = original(self, rung)
        for weight in model.graph.initializer:
            if weight.data_type == onnx.TensorProto.INT8:
                weight.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(weight), weight.name))
        return model, left

    from leannet.deploy.int8.quantiser import Quantiser

    original = Quantiser.quantise
    monkeypatch.setattr(Quantiser, "quantise", rolled)
    result = invoke(folder, "--int8", "--output", tmp_path / "int8.onnx", "--calibration-images", 32)
    assert result.exit_code == 3
    assert "no form loses 1 points" in result.output
    assert result.output.count("refused") == 5
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_quantised_is_refused_in_one_line(folder, tmp_path):
    result = invoke(folder, "--int8", "--format", "torch-export")
    assert "only an ONNX file is quantised" in str(result.exception)
    alone = tmp_path / "alone"
    shutil.copytree(folder, alone)
    with pytest.raises(UserError, match=r"no run beside .* Pass --check-data"):
        export_network(alone, tmp_path / "file.onnx", int8=Int8())
    config = json.loads((alone / "config.json").read_text())
    (alone / "config.json").write_text(json.dumps({**config, "early_exit": {"rule": "confidence"}}))
    with pytest.raises(UserError, match="images leave it early"):
        export_network(alone, tmp_path / "file.onnx", int8=Int8())
