"""Mistakes in options: each is refused in one line that names the thing, the reason and the remedy."""

import os
import stat

import pytest
import timm
import torch
import yaml
from command_line import QUICK, SMALLEST, leannet, refusal
from model_folders import make_model_folder


@pytest.fixture
def compare(trees, tmp_path):
    """Return a function that runs a comparison that must be refused, and leaves no result."""

    def run(*arguments, network=SMALLEST):
        said = refusal("compare", network, "--data", trees, *QUICK, "--output", tmp_path / "out", *arguments)
        assert not list(tmp_path.rglob("record.json"))
        return said

    return run


@pytest.mark.parametrize(
    ("option", "value", "why"),
    [
        ("--epochs", "0", "it must be between 1 and 100000"),
        ("--batch-size", "1", "it must be between 2 and 1000000"),
        ("--img-size", "2", "it must be between 4 and 4096"),
        ("--lr", "0.0", "it must be between 1e-12 and 1000.0"),
        ("--lr", "nan", "it must be between"),
        ("--smoothing", "1.0", "it must be between 0 and 0.999"),
        ("--hflip", "-0.5", "it must be between 0 and 1"),
        ("--weight-decay", "-1.0", "it must be between 0 and 10"),
    ],
)
def test_value_out_of_range(compare, option, value, why):
    said = compare(option, value)
    assert said.startswith(f"leannet: {option} {value}: {why}")
    assert said.endswith("Choose another value.")


@pytest.mark.parametrize("seeds", ["x", "0,-1", ",", "0,,1", "1.5"])
def test_seeds(compare, seeds):
    expected = "seeds are whole numbers from 0 on, with commas. Pass 0,1,2, say."
    assert compare("--seeds", seeds) == f"leannet: --seeds {seeds}: {expected}"


def test_seed_beyond_64_bits(compare):
    assert "99999999999999999999" in compare("--seeds", "99999999999999999999")


def test_words(compare):
    expected = "--bad-images maybe: it is neither error nor skip. Pass one of them."
    assert compare("--bad-images", "maybe") == f"leannet: {expected}"
    expected = "unknown device tpu: it is not auto, cpu or cuda. Pass --device auto."
    assert compare("--device", "tpu") == f"leannet: {expected}"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--opt", "nonsense"), ["optimizer nonsense", "not found"]),
        (("--sched", "nonsense"), ["schedule nonsense", "Unknown scheduler"]),
        (("--sched", "plateau"), ["schedule plateau", "step per epoch"]),
    ],
)
def test_optimizer_and_schedule(compare, arguments, words):
    said = compare(*arguments)
    assert all(word in said for word in words), said
    assert said.endswith("Choose others with --opt and --sched.")


@pytest.mark.parametrize("arguments", [("--opt", "nonsense"), ("--sched", "nonsense")])
def test_optimizer_and_schedule_are_tried_before_anything_is_written(compare, tmp_path, arguments):
    compare(*arguments)
    assert not (tmp_path / "out" / "args.yaml").exists()


@pytest.mark.parametrize("arguments", [("--sched", "none"), ("--opt", "adahessian")])
def test_schedule_and_optimizer_that_the_loop_cannot_use(compare, arguments):
    assert arguments[1] in compare(*arguments)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("missing.yaml", None, ["no recipe missing.yaml: No such file", "default, digits"]),
        (
            "field.yaml",
            "epoch: 3",
            ["cannot use recipe field.yaml: unknown: epoch.", "Known: aa, amp, batch_size", "epochs"],
        ),
        ("list.yaml", "[1, 2]", ["cannot use recipe list.yaml", "no fields at all"]),
        ("torn.yaml", "epochs: [", ["cannot read torn.yaml", "line 1", "Correct the YAML."]),
        ("range.yaml", "epochs: 0", ["--epochs 0", "between 1 and 100000"]),
        ("crop.yaml", "crop_pct: 2.0", ["crop_pct 2.0", "a share above 0 and up to 1"]),
        ("filter.yaml", "interpolation: cubic", ["interpolation 'cubic'", "bicubic"]),
    ],
)
def test_recipe(compare, tmp_path, name, text, words):
    if text is not None:
        (tmp_path / name).write_text(text)
    said = compare("--recipe", name)
    assert all(word in said for word in words), said


@pytest.mark.parametrize(
    "text",
    [
        "lr: 2e-3",  # text to YAML 1.1, which wants 2.0e-3
        "epochs: ten",
        "weight_decay: [0.1]",
        b"opt: \xff",
    ],
)
def test_recipe_with_a_value_of_the_wrong_kind(compare, tmp_path, text):
    (tmp_path / "mine.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    said = compare("--config", "mine.yaml")
    assert "mine.yaml" in said or "--" in said


def test_recipe_with_half_an_epoch(compare, tmp_path, trees):
    (tmp_path / "mine.yaml").write_text("{epochs: 1.5, batch_size: 8, img_size: 16}")
    output = tmp_path / "out"
    assert "1.5" in refusal("compare", SMALLEST, "--data", trees, "-c", "mine.yaml", "--output", output)


def test_recipe_of_a_run_is_a_recipe(trees, tmp_path):
    arguments = ("compare", SMALLEST, "--data", trees)
    assert leannet(*arguments, *QUICK, "--lr", 0.01, "--output", tmp_path / "one").code == 0
    assert leannet(*arguments, "--config", tmp_path / "one" / "args.yaml", "--output", tmp_path / "two").code == 0
    one, two = (yaml.safe_load((tmp_path / name / "args.yaml").read_text()) for name in ("one", "two"))
    assert one == two


def test_unknown_network(compare):
    said = compare(network="resnet21_cifar")
    assert "unknown network resnet21_cifar" in said
    assert "Did you mean resnet20_cifar or" in said
    assert "leannet models --all PATTERN" in said


def test_one_wrong_name_is_found_before_the_others_are_trained(compare):
    assert "unknown network nosuch" in compare("nosuch")


def test_size_that_gates_cannot_take(compare):
    said = compare("--img-size", 20, network="mobilenetv2_cse")
    assert "20 x 20 pixels" in said
    assert said.endswith("Choose --img-size 16 or 24.")


def test_size_that_a_network_cannot_take(compare):
    said = compare("--img-size", 32, network="vit_tiny_patch16_224")
    assert "vit_tiny_patch16_224 has no small-input form" in said
    assert said.endswith("Choose --img-size 64 or more, or pass --no-small-input.")
    said = compare("--img-size", 8, "--no-small-input", network="test_vit")
    assert said.startswith("leannet: test_vit cannot take images of 8 pixels: ")
    assert said.endswith("Choose another --img-size.")


@pytest.fixture(scope="module")
def folder(trees, tmp_path_factory):
    return make_model_folder(tmp_path_factory.mktemp("run") / "best", trees, steps=1)


@pytest.mark.parametrize("verb", [("profile",), ("bench", "--rounds", 1), ("export",)])
def test_weights_that_do_not_fit_the_config(folder, tmp_path, verb):
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    (mixed / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    (mixed / "config.json").write_text((folder / "config.json").read_text().replace(SMALLEST, "resnet56_cifar"))
    assert refusal(verb[0], mixed, *verb[1:]) == (
        f"leannet: cannot use {mixed / 'model.safetensors'}: its weights are not those of the network in config.json. "
        "Copy both files from the same folder again."
    )
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["config.json", "mixed", "model.safetensors"]


@pytest.mark.parametrize("verb", [("profile",), ("bench", "--rounds", 1)])
@pytest.mark.parametrize("network", [SMALLEST, "torchvision/resnet18"])
def test_more_classes_than_a_network_has(verb, network):
    said = refusal(verb[0], network, *verb[1:], "--num-classes", 10**9)
    expected = f"cannot make {network} with 1,000,000,000 classes: a network has 1,048,576 at most. Pass fewer classes."
    assert said == f"leannet: {expected}"


def test_more_classes_than_suit_the_weights(folder, monkeypatch):
    monkeypatch.setattr("leannet.models.parts.model_limits.SPARE_PARAMETERS", 0)
    said = refusal("profile", folder, "--num-classes", 100_000)
    assert said.startswith(f"leannet: cannot make {folder} with 100,000 classes: it would be far larger than the ")
    assert said.endswith(" numbers in model.safetensors. Pass fewer classes.")


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: ..."),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 238.42 GiB."),
        MemoryError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_classes_for_which_there_is_no_memory(folder, monkeypatch, error):
    def make(*_, **__):
        raise error

    monkeypatch.setattr(timm, "create_model", make)
    why = "there is not enough memory for it"
    for network in (SMALLEST, folder):
        assert refusal("profile", network, "--num-classes", 1_000_000) == (
            f"leannet: cannot make {network} with 1,000,000 classes: {why}. "
            "Pass fewer classes, or choose a smaller network."
        )
    assert refusal("profile", SMALLEST) == f"leannet: cannot make {SMALLEST}: {why}. Choose a smaller network."


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of POSIX")
@pytest.mark.parametrize("verb", [("export",), ("predict", "image.png")])
def test_output_that_is_no_ordinary_file(folder, tmp_path, verb):
    """As a device is none, which root could replace by a file."""
    os.mkfifo(tmp_path / "pipe")
    assert refusal(verb[0], folder, *verb[1:], "--output", "pipe") == (
        "leannet: cannot write pipe: it is no ordinary file. Name an ordinary file with --output."
    )
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("--format", "onnx", "-o", "e.pt2"),
            "cannot write e.pt2 as an ONNX file: .pt2 is the ending of a program of torch.export. "
            "Pass --format torch-export, or give e.onnx.",
        ),
        (
            ("--format", "torch-export", "-o", "e.XML"),
            "cannot write e.XML as a program of torch.export: .XML is the ending of an OpenVINO file. "
            "Pass --format openvino, or give e.pt2.",
        ),
        (("--preprocess", "inside", "-o", "e.pte"), "a program of ExecuTorch holds the network alone"),
        (("--int8", "-o", "e.pt2"), "--int8 with --format torch-export: only an ONNX file is quantised"),
        (
            ("--format", "openvino", "--opset", 20),
            "--opset 20 with an OpenVINO file: the operators of ONNX alone have versions to choose from. "
            "Leave --opset away.",
        ),
        (("-o", "e.pt2", "--opset", 18), "--opset 18 with a program of torch.export: "),
        (("--max-drop", 3), "--max-drop 3 without --int8: it is for files of 8 bits. Pass --int8, or leave it away."),
        (("--calibration-images", 64), "--calibration-images 64 without --int8: it is for files of 8 bits. "),
    ],
)
def test_options_of_an_export_that_do_not_go_together(folder, tmp_path, arguments, words):
    assert words in refusal("export", folder, *arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["bench", "calibrate", "compare", "evaluate", "search-alpha", "train"])
@pytest.mark.parametrize("name", ["../../x", "a/b", "/x", "..", ".", "a\\b"])
def test_name_that_leads_elsewhere(tmp_path, verb, name):
    said = refusal(verb, SMALLEST, *(() if verb == "bench" else ("--data", "digits")), "--name", name)
    assert said == f"leannet: --name {name}: it is no plain name. Leave / and .. away, or pass --output FOLDER."
    assert list(tmp_path.iterdir()) == []


def test_name_that_is_too_long_for_a_folder(tmp_path):
    said = refusal("bench", SMALLEST, "--name", "ü" * 101)
    assert said.endswith(": it has more than 200 bytes. Pass a shorter one.")
    assert list(tmp_path.iterdir()) == []
