"""What the page on security promises of files of strangers, where no other test holds it."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from exported_files import colour_model, description
from leannet.data.formats.lists import find_list
from leannet.training import load_recipe
from leannet_runtime import ModelFile, Preprocessing, UserError, onnx_wire
from leannet_runtime.onnx_wire import NotOnnx, read_facts

SOURCE = Path(__file__).parents[2] / "src"
FORBIDDEN = {
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "marshal.loads", "shelve.open", "joblib.load", "dill.load"),
    *("yaml.load", "yaml.full_load", "yaml.unsafe_load", "yaml.load_all", "eval", "exec", "os.system"),
    *("zipfile.ZipFile.extractall", "tarfile.open.extractall", "torch.hub.load", "torch.jit.load", "torch.export.load"),
}


def calls(path):
    """Yield the dotted name and the keywords of each call in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {keyword.arg: keyword.value for keyword in node.keywords}, node


def dangers(path):
    found = []
    for name, keywords, node in calls(path):
        loads_file = name == "torch.load" or (name == "load_state_dict" and node.args)  # timm's, which reads a file
        if loads_file and getattr(keywords.get("weights_only"), "value", None) is not True:
            found.append(name)
        own = name == "torch.export.load" and ast.unparse(node.args[0]).startswith("io.BytesIO(_content(")
        if own:  # a program that was written a moment before, and is proven
            continue
        if name in FORBIDDEN or name.endswith((".extractall", ".extract")):
            found.append(name)
        if name == "np.load" and "allow_pickle" in keywords:
            found.append(name)
    return found


def test_no_code_of_a_file_is_ever_run():
    assert {path.name: found for path in SOURCE.rglob("*.py") if (found := dangers(path))} == {}


@pytest.mark.parametrize(
    "line",
    ["pickle.loads(x)", "yaml.load(x)", "torch.load(x)", "torch.load(x, weights_only=False)", "a.extractall()"],
)
def test_the_search_finds_what_it_looks_for(line, tmp_path):
    (tmp_path / "code.py").write_text(line)
    assert dangers(tmp_path / "code.py")


def refused(tmp_path, model):
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UserError) as error:
        ModelFile.open(path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1000
    return str(error.value)


def with_description(**changes):
    model = colour_model()
    helper.set_model_props(model, {"leannet": json.dumps(description(**changes))})
    return model


def test_classes_without_number_are_refused_before_they_are_named(tmp_path):
    """The graph need not say how many it answers, so nothing else would stop a list of 10**12 names."""
    model = with_description(num_classes=10**12, label_names=None)
    for output in model.graph.output:
        output.type.tensor_type.shape.dim[1].dim_param = "C"
    assert "has 1000000000000 as num_classes" in refused(tmp_path, model)


@pytest.mark.parametrize("field", ["format", "num_classes", "preprocess"])
def test_long_values_are_not_repeated_in_messages(tmp_path, field):
    assert "xxx..." in refused(tmp_path, with_description(**{field: "x" * 10**6}))


def test_a_tensor_of_terabytes_is_refused(tmp_path):
    model = colour_model()
    (weights,) = (each for each in model.graph.initializer if each.name == "weights")
    weights.dims[:] = [10**6, 10**6]
    assert "onnxruntime does not take it" in refused(tmp_path, model)


def test_parts_without_number_are_refused(monkeypatch):
    monkeypatch.setattr(onnx_wire, "MOST_FIELDS", 100)
    with pytest.raises(NotOnnx, match="more than 100 parts"):
        read_facts(b"\x08\x01" * 101)
    with pytest.raises(NotOnnx, match="it holds no network"):
        read_facts(b"\x08\x01" * 100)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"crop_pct": 1e-9}, "more than the limit of 8,192"),
        ({"img_size": 8193, "crop_pct": 1.0}, "more than the limit of 8,192"),
        ({"mean": (float("nan"),) * 3}, "each needs three numbers"),
        ({"std": (float("inf"),) * 3}, "each needs three numbers"),
    ],
)
def test_sizes_and_numbers_of_no_classifier(changes, said):
    with pytest.raises(UserError, match=said):
        Preprocessing(**{"img_size": 224, **changes})
    assert Preprocessing(8192, 1.0).img_size == 8192


YAMLS = {
    "a key that is a number": "1: 2\nlr: 1",
    "no date": "lr: 2001-99-99",
    "a key that is a list": "? [a, b]\n: c",
    "deep": "[" * 5000,
    "no end": "a: &a [*a]\nlr: *a",
    "code": "lr: !!python/object/apply:os.system [true]",
    "long": "#" * 2**18 + "\n",
    "lines": 'class_weights: "a\\nb"',
    "a field of lines": '"a\\nb": 1',
    "a number of many digits": "lr: " + "9" * 5000,
}


@pytest.mark.parametrize("name", YAMLS)
def test_recipes_of_strangers(name, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(YAMLS[name])
    with pytest.raises(UserError) as error:
        load_recipe(str(path))
    assert "\n" not in str(error.value)


def test_lists_within_lists_cost_nothing(tmp_path):
    """Nine lines of ten times the line before are a billion values once they are written out."""
    lines = ["x0: &x0 [a, a, a, a, a, a, a, a, a, a]"]
    lines += [f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]" for n in range(1, 10)]
    (tmp_path / "recipe.yaml").write_text("\n".join([*lines, "lr: *x9"]))
    with pytest.raises(UserError):
        load_recipe(str(tmp_path / "recipe.yaml"))
    inside = "\n".join(["unused:", *("  " + line for line in lines), "recipe:", "  lr: *x9"])
    (tmp_path / "recipe.yaml").write_text(inside)
    with pytest.raises(UserError, match=r"--lr \[.*must be a number"):
        load_recipe(str(tmp_path / "recipe.yaml"))


def test_long_labels_are_refused(tmp_path):
    """In an array of text each takes the room of the longest."""
    rows = "\n".join(f"{number}.jpg,cat" for number in range(3))
    (tmp_path / "list.csv").write_text(f"file_name,label\n{rows}\n4.jpg,{'x' * 1001}\n")
    with pytest.raises(UserError, match="line 5 has a label of 1,001 characters, more than 1,000"):
        find_list(tmp_path / "list.csv")
    (tmp_path / "list.csv").write_text(f"file_name,label\n{rows}\n4.jpg,{'x' * 1000}\n")
    assert np.char.str_len(find_list(tmp_path / "list.csv")["train"].names).max() == 1000


def test_a_reader_that_has_enough_is_no_failure(tmp_path):
    """As behind `| head`: no word, whether the help is cut off or the table of a verb."""
    for arguments in (["--help"], ["models", "resnet20"]):
        command = [sys.executable, "-m", "leannet_cli", *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            process.stdout.close()
            assert process.stderr.read() == b""
        assert process.returncode == 1
