"""``leannet predict`` with exported files and model folders: what it answers, writes, and refuses."""

import csv
import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from command_line import TREES, leannet, refusal
from PIL import Image
from pyarrow import parquet

from exported_files import COLOURS, softmax, write_model

NO_TORCH = "import sys; sys.modules.update(dict.fromkeys(['torch', 'torchvision', 'timm', 'onnx']))\n"
START = NO_TORCH + "from leannet_cli.main import main; sys.argv[0] = 'leannet'; main()"
PAINT = {"red": (255, 0, 51), "green": (0, 255, 51), "blue": (51, 0, 255)}


def truth(colour):
    """Return labels and probabilities by definition: the logits are 8 times the colour on the scale 0..1."""
    expected = softmax(np.array(PAINT[colour]) / 255 * 8)
    order = np.argsort(-expected)
    return [COLOURS[label] for label in order], expected[order]


@pytest.fixture
def place(tmp_path):
    """A file, three images in a tree of folders, and things that are no images."""
    write_model(tmp_path / "model.onnx")
    for name, colour in (("b/2.png", "green"), ("b/deep/1.jpg", "blue"), ("a.PNG", "red")):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 7), PAINT[colour]).save(path, quality=100)
    (tmp_path / "photos" / "notes.txt").write_text("not meant")
    (tmp_path / "photos" / ".hidden.png").write_text("not meant")
    return tmp_path


SORTED = ["photos/a.PNG", "photos/b/2.png", "photos/b/deep/1.jpg"]
SEEN = ["red", "green", "blue"]


def predict(*arguments):
    return leannet("predict", "model.onnx", *arguments)


def records(answer):
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


def test_json_is_an_array_with_stable_keys(place):
    found = records(predict("photos", "--format", "json", "--topk", 2))
    assert [each["image"] for each in found] == SORTED
    assert [list(each) for each in found] == [["image", "labels", "probabilities", "exit", "error"]] * 3
    for each, colour in zip(found, SEEN, strict=True):
        labels, probabilities = truth(colour)
        assert each["labels"] == labels[:2]
        assert each["probabilities"] == pytest.approx(probabilities[:2], abs=0.01)  # JPEG changes colours a little
        assert (each["exit"], each["error"]) == (None, None)


def test_csv_has_a_column_for_each_class(place):
    found = predict("photos/a.PNG", "photos/gone.png", "--format", "csv")
    assert found.code == 1
    rows = list(csv.reader(io.StringIO(found.out)))
    columns = "image,label,probability,label_2,probability_2,label_3,probability_3,exit,error"
    assert rows[0] == columns.split(",")
    labels, probabilities = truth("red")
    assert rows[1][1::2][:3] == labels
    assert [float(value) for value in rows[1][2::2][:3]] == pytest.approx(probabilities, abs=1e-5)
    assert rows[2] == ["photos/gone.png", *[""] * 7, "no such file"]


def test_table_is_for_reading(place):
    found = predict("photos/a.PNG", "photos/b/2.png", "--topk", 2)
    assert (found.code, found.err) == (0, "")
    heads, first, second = found.out.splitlines()
    assert heads.split() == ["image", "label", "%", "then"]
    share = 100 * truth("red")[1]
    assert first.split() == ["photos/a.PNG", "red", f"{share[0]:.1f}", "blue", f"{share[1]:.1f}"]
    assert second.split()[:2] == ["photos/b/2.png", "green"]


def test_parquet_has_types(place):
    found = predict("photos", "missing.png", "-o", "out/found.parquet")
    assert (found.code, found.out) == (1, "")
    rows = parquet.read_table(place / "out" / "found.parquet").to_pylist()
    assert [row["image"] for row in rows] == [*SORTED, "missing.png"]
    assert [row["label"] for row in rows] == [*SEEN, None]
    assert rows[0]["probability"] == pytest.approx(truth("red")[1][0], abs=1e-5)
    assert (rows[0]["exit"], rows[0]["error"], rows[3]["error"]) == (None, None, "no such file")


@pytest.mark.parametrize(("name", "options"), [("a.json", ()), ("a.csv", ()), ("a.txt", ()), ("a.txt", ("csv",))])
def test_files_hold_what_would_be_printed(place, name, options):
    chosen = options[0] if options else {"a.json": "json", "a.csv": "csv"}.get(name, "table")
    printed = predict("photos", "--format", chosen).out
    found = predict("photos", "-o", name, *(["--format", *options] if options else []))
    assert (found.code, found.out) == (0, "")
    written = (place / name).read_text()
    assert [line.rstrip() for line in written.splitlines()] == [line.rstrip() for line in printed.splitlines()]


def test_damaged_and_missing_images_leave_the_others_answered(place):
    (place / "photos" / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    found = predict("photos", "gone.jpg", "--format", "json", "--batch-size", 2)
    assert found.code == 1
    assert found.err == "leannet: 2 of 5 images could not be read.\n"
    rows = {each["image"]: each for each in json.loads(found.out)}
    assert rows["gone.jpg"]["error"] == "no such file"
    assert rows["photos/bad.jpg"]["labels"] == []
    assert rows["photos/bad.jpg"]["error"]
    assert [rows[name]["labels"][0] for name in SORTED] == SEEN
    table = predict("photos", "gone.jpg")
    assert table.code == 1
    assert "cannot read: no such file" in table.out


def test_patterns_and_repeated_names(place):
    found = records(predict("photos/**/*.[pj][np]g", "photos/a.PNG", "photos/b/*", "--format", "json"))
    nested = ["photos/b/2.png", "photos/b/deep/1.jpg"]
    assert [each["image"] for each in found] == [*nested, "photos/a.PNG", *nested]
    Image.new("RGB", (4, 4)).save(place / "[1].png")
    assert records(predict("[1].png", "--format", "json"))[0]["image"] == "[1].png"


def test_exits_stand_in_the_output(place):
    exits = {"early_exit": {"thresholds": [0.5]}}
    write_model(place / "exits.onnx", changes=exits, outputs=("logits", "probabilities", "exit"))
    Image.new("L", (5, 5), 99).save(place / "grey.png")
    arguments = ("predict", "exits.onnx", "grey.png", "photos/a.PNG")
    assert [each["exit"] for each in json.loads(leannet(*arguments, "--format", "json").out)] == [2, 1]
    rows = csv.DictReader(io.StringIO(leannet(*arguments, "--format", "csv").out))
    assert [row["exit"] for row in rows] == ["2", "1"]
    assert leannet(*arguments).out.splitlines()[0].split() == ["image", "label", "%", "exit", "then"]


def run(*arguments, **options):
    """Run it as a user does, where what the runtime must not need cannot be imported."""
    command = [sys.executable, "-c", START, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=60, **options)


def test_a_file_needs_no_torch_and_takes_paths_from_standard_input(place):
    strange = os.fsdecode(b"caf\xe9.png")
    Image.new("RGB", (4, 4), PAINT["blue"]).save(place / "photos" / strange, "PNG")
    lines = b"photos/a.PNG\n\nphotos/caf\xe9.png\r\nphotos/b\n"
    done = run("predict", "model.onnx", "-", "--format", "json", "--threads", 1, input=lines, cwd=place)
    assert (done.returncode, done.stderr) == (0, b"")
    found = json.loads(done.stdout)
    assert [each["image"] for each in found] == ["photos/a.PNG", "photos/caf\ufffd.png", *SORTED[1:]]
    assert [each["labels"][0] for each in found] == ["red", "blue", "green", "blue"]
    nothing = run("predict", "model.onnx", "-", input=b"\n", cwd=place)
    assert nothing.returncode == 2
    assert nothing.stderr.decode().startswith("leannet: no images: the standard input names none")


def test_names_do_nothing_to_a_terminal(place):
    write_model(place / "evil.onnx", changes={"label_names": ["\x1b[31mred", "a\n\ud800b", "[bold]blue"]})
    found = leannet("predict", "evil.onnx", "photos/a.PNG")
    assert "\x1b" not in found.out
    assert len(found.out.splitlines()) == 2
    assert "\ufffd[31mred" in found.out
    assert "[bold]blue" in found.out
    rows = json.loads(leannet("predict", "evil.onnx", "photos/a.PNG", "--format", "json").out)
    assert rows[0]["labels"] == [
        "\x1b[31mred",
        "[bold]blue",
        "a\n\ufffdb",
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("https://example.org/a.jpg",), "cannot read https://example.org/a.jpg: addresses are not fetched. Download"),
        (("s3://bucket/a.jpg",), "addresses are not fetched"),
        (("photos/*.gif",), "no images photos/*.gif: nothing matches this pattern"),
        (("empty",), "no images in empty: no file has the ending of one"),
        (("photos", "--format", "xml"), "--format xml: not known. Choose one of table, json, csv, parquet"),
        (("photos", "--format", "parquet"), "--format parquet: it is no text to print. Name a file with -o"),
        (("photos", "-o", "empty"), "cannot write empty: it is a folder"),
        (("photos", "-o", "model.onnx/a.csv"), "cannot write model.onnx"),
    ],
)
def test_mistakes_are_one_line(place, arguments, words):
    (place / "empty").mkdir()
    assert words in refusal("predict", "model.onnx", *arguments)


def test_models_that_are_none(place):
    (place / "text.onnx").write_text("A text. " * 50)
    (place / "folder").mkdir()
    assert "cannot use text.onnx: not an ONNX file" in refusal("predict", "text.onnx", "photos")
    assert "cannot use gone.onnx: no such file" in refusal("predict", "gone.onnx", "photos")
    assert "folder is no model folder: it has no config.json" in refusal("predict", "folder", "photos")


def test_parquet_without_its_package(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert "pyarrow is not installed" in refusal("predict", "model.onnx", "photos", "-o", "a.parquet")


def test_a_model_folder_answers_as_timm_and_torchvision_do(trees, tmp_path):
    from model_folders import make_model_folder, truth_of

    import leannet as package

    folder = make_model_folder(tmp_path / "folder", trees, ("cedar", "ash", "birch"))
    names, _, probabilities = truth_of(folder, trees)
    found = json.loads(leannet("predict", folder, trees / "test", "--format", "json", "--batch-size", 4).out)
    assert [each["image"] for each in found] == [str(trees / name) for name in names]
    for each, expected in zip(found, probabilities, strict=True):
        order = np.argsort(-expected)
        assert each["labels"] == [TREES[label] for label in order]
        assert each["probabilities"] == pytest.approx(expected[order], abs=1e-5)
    predictor = package.load(folder)
    again = predictor.predict([trees / name for name in names], topk=1)
    assert [each.labels[0] for each in again] == [each["labels"][0] for each in found]
    answer = predictor.run([np.asarray(Image.open(trees / names[0]))])
    assert softmax(answer.logits) == pytest.approx(answer.probabilities, abs=1e-5)
    assert len(predictor.sha256) == 64
    assert predictor.description["architecture"] == "resnet20_cifar"


def test_files_and_folders_are_loaded_alike(place):
    import leannet as package

    predictor = package.load(place / "model.onnx", threads=1)
    assert type(predictor).__name__ == "OnnxPredictor"
    assert predictor.predict(["photos/a.PNG"])[0].labels == tuple(truth("red")[0])
    with pytest.raises(package.UserError, match="0 threads"):
        package.load("model.onnx", threads=0)


@pytest.mark.parametrize("ensemble", [False, True])
def test_a_calibrated_folder_tells_the_exits(tmp_path, ensemble):
    import torch

    from leannet import create_network, load
    from leannet.early_exit import ExitPolicy, apply_policy, attach_exits, write_policy
    from leannet.training import save_model_folder
    from leannet_runtime import Preprocessing

    torch.manual_seed(0)
    model = attach_exits(create_network("resnet20_cifar", num_classes=4, img_size=16), [0, 1], img_size=16).eval()
    preprocessing = Preprocessing(16, crop_pct=1.0)
    save_model_folder(model, tmp_path / "folder", ("a", "b", "c", "d"), preprocessing)
    pixels = np.random.default_rng(0).integers(0, 256, (9, 16, 16, 3), dtype=np.uint8)
    with torch.inference_mode():
        logits = torch.stack(model.forward_exits(torch.from_numpy(preprocessing.normalise(pixels))), dim=1)
    surest = logits[:, 0].softmax(dim=1).amax(dim=1)
    policy = ExitPolicy((float(surest.median()), 1.0), ensemble=ensemble)
    write_policy(tmp_path / "folder", policy, {})
    probabilities, exits = apply_policy(logits, policy)
    assert set((exits + 1).tolist()) == {1, 3}
    for number, each in enumerate(pixels):
        Image.fromarray(each).save(tmp_path / f"{number}.png")
    found = json.loads(leannet("predict", tmp_path / "folder", tmp_path / "[0-8].png", "--format", "json").out)
    assert [each["exit"] for each in found] == (exits + 1).tolist()
    for each, expected in zip(found, probabilities.numpy(), strict=True):
        assert each["probabilities"] == pytest.approx(np.sort(expected)[::-1], abs=1e-5)
    answer = load(tmp_path / "folder").run(pixels)
    assert softmax(answer.logits) == pytest.approx(probabilities.numpy(), abs=1e-5)
