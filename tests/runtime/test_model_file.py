"""Files that are opened, and files that are refused before they can do harm."""

import hashlib
import json
import os
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from exported_files import COLOURS, SIZE, colour_model, description, write_model
from leannet_runtime import ModelFile, Preprocessing, UserError, load
from leannet_runtime.onnx_wire import FIELDS, NotOnnx, read_facts


def refusal(path):
    with pytest.raises(UserError) as error:
        ModelFile.open(path)
    assert str(error.value).startswith(f"cannot use {path}: ")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_a_file_says(tmp_path):
    path = write_model(tmp_path / "colours.onnx")
    file = ModelFile.open(path, threads=1)
    assert file.label_names == COLOURS
    assert (file.num_classes, file.inside, file.has_exits, file.threads) == (3, True, False, 1)
    assert file.preprocessing == Preprocessing(SIZE, 0.5, "bilinear", (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
    assert file.description == description()
    assert file.metadata["task"] == "classify"
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_other_forms_are_opened(tmp_path):
    exits = {"early_exit": {"thresholds": [0.5]}}
    outputs = ("logits", "probabilities", "exit")
    assert ModelFile.open(write_model(tmp_path / "exits.onnx", changes=exits, outputs=outputs)).has_exits
    outside = ModelFile.open(write_model(tmp_path / "outside.onnx", changes={"preprocess": "outside"}))
    assert not outside.inside
    unnamed = ModelFile.open(write_model(tmp_path / "unnamed.onnx", changes={"label_names": None}))
    assert unnamed.label_names is None
    # Domains that are declared and used by no operator are no danger; some tools declare all they know.
    declared = [("com.microsoft", 1), ("com.microsoft.nchwc", 1)]
    ModelFile.open(write_model(tmp_path / "declared.onnx", opsets=declared))


def test_threads_are_those_that_the_process_may_use(tmp_path):
    path = write_model(tmp_path / "colours.onnx")
    file = ModelFile.open(path)
    assert file.threads == len(os.sched_getaffinity(0))
    assert file.session.get_session_options().intra_op_num_threads == file.threads
    with pytest.raises(UserError, match="0 threads"):
        ModelFile.open(path, threads=0)


def function_model():
    """Its operator of another domain is a function that the file brings along."""
    model = colour_model(domain="mine", opsets=[("mine", 1)])
    node, imports = helper.make_node("MatMul", ["a", "b"], ["c"]), [helper.make_opsetid("", 18)]
    model.functions.append(helper.make_function("mine", "MatMul", ["a", "b"], ["c"], [node], imports))
    return model


def branch_model():
    """Its operator of another domain stands in a branch of a branch."""
    inner = helper.make_graph([helper.make_node("Evil", [], ["x"], domain="deep")], "inner", [], [])
    outer = helper.make_graph([helper.make_node("If", ["c"], ["x"], then_branch=inner, else_branch=inner)], "o", [], [])
    model = colour_model(opsets=[("deep", 1)])
    model.graph.node.append(helper.make_node("If", ["c"], ["x"], then_branch=outer, else_branch=outer))
    return model


def external_model(name="weights.bin"):
    model = colour_model()
    weights = next(each for each in model.graph.initializer if each.name == "weights")
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=name)
    return model


def constant_model():
    """Its weights in another file are the value of an operator."""
    model = colour_model()
    tensor = next(each for each in external_model().graph.initializer if each.name == "weights")
    node = helper.make_node("Constant", [], ["w"])
    node.attribute.add(name="value", type=onnx.AttributeProto.TENSOR, t=tensor)
    model.graph.node.append(node)
    return model


def without_metadata():
    model = colour_model()
    del model.metadata_props[:]
    return model


def with_metadata(text):
    model = colour_model()
    helper.set_model_props(model, {"leannet": text})
    return model


def changed(**changes):
    return with_metadata(json.dumps(description(**changes)))


def timm_keys(**changes):
    return description()["preprocessing"] | changes


HOSTILE = {
    "no metadata": (without_metadata(), "leannet export did not write it. Export the network with leannet"),
    "broken JSON": (with_metadata('{"format": 1,'), "its metadata is no JSON"),
    "deep JSON": (with_metadata("[" * 100_000), "its metadata is no JSON"),
    "JSON of something else": (with_metadata("[1]"), "its metadata is no JSON object"),
    "empty object": (with_metadata("{}"), "its metadata has format None, and this version reads 1"),
    "format 2": (changed(format=2), "its metadata has format 2, and this version reads 1. Update leannet"),
    "format true": (changed(format=True), "its metadata has format True"),
    "classes": (changed(num_classes="3"), "its metadata has '3' as num_classes"),
    "other classes": (changed(num_classes=4, label_names=None), r"output logits is tensor\(float\) \['N', 3\], for 4"),
    "too few names": (changed(label_names=["a", "b"]), "it names 2 classes, and the network answers 3"),
    "names are text": (changed(label_names="abc"), "label_names in its metadata is no list of names"),
    "names are numbers": (changed(label_names=[1, 2, 3]), "label_names in its metadata is no list of names"),
    "preprocess": (changed(preprocess="beside"), "its metadata has 'beside' as preprocess"),
    "preprocess list": (changed(preprocess=["inside"]), "as preprocess, not inside or outside"),
    "other place": (changed(preprocess="outside"), r"its input is image tensor\(uint8\) .* not image with float32"),
    "no preprocessing": (changed(preprocessing=None), "preprocessing in its metadata is not timm's"),
    "interpolation": (changed(preprocessing=timm_keys(interpolation="wish")), "interpolation 'wish': not known"),
    "huge": (changed(preprocessing=timm_keys(crop_pct=1e-6)), "resizes images to 8,000,000 pixels, more than"),
    "beyond numbers": (changed(preprocessing=timm_keys(crop_pct=5e-324)), "preprocessing in its metadata"),
    "custom operator": (colour_model(domain="evil", opsets=[("evil", 1)]), "needs operators of 'evil', and only those"),
    "custom operator in a branch": (branch_model(), "needs operators of 'deep'"),
    "function of its own": (function_model(), "needs operators of 'mine'"),
    "external data": (external_model(), "its weights lie in another file"),
    "external data elsewhere": (external_model("../../../etc/passwd"), "its weights lie in another file"),
    "external constant": (constant_model(), "its weights lie in another file"),
    "one output": (colour_model(outputs=("logits",)), "it has no output probabilities"),
    "no exit": (colour_model({"early_exit": {"thresholds": [0.5]}}), "it has no output exit"),
    "four channels": (colour_model(channels=4), "its input is image"),
    "fixed batch": (colour_model(batch=1), "of any number N of images"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(tmp_path, name):
    model, words = HOSTILE[name]
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match=words):
        ModelFile.open(path)
    refusal(path)


def test_unknown_operators_are_refused_by_onnxruntime(tmp_path):
    model = colour_model()
    model.graph.node[2].op_type = "Miracle"
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    assert "onnxruntime does not take it" in refusal(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (b"", "the file is empty"),
        (b"A text, which is no network.\n" * 20, "not an ONNX file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not an ONNX file"),
        (b"PK\x03\x04" + bytes(100), "not an ONNX file"),
        (b"\x18\x00\x00\x00ORTM" + bytes(100), "not an ONNX file"),
    ],
)
def test_other_files_are_refused(tmp_path, contents, words):
    path = tmp_path / "model.onnx"
    path.write_bytes(contents)
    assert words in refusal(path)


def test_what_is_no_file_is_refused(tmp_path):
    assert "no such file" in refusal(tmp_path / "nothing.onnx")
    assert "it is a folder" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe.onnx")
    assert "it is no ordinary file" in refusal(tmp_path / "pipe.onnx")  # and nobody waits for it
    with (tmp_path / "large.onnx").open("wb") as file:
        file.truncate(2**31)
    assert "more than 2 GiB" in refusal(tmp_path / "large.onnx")


def test_cut_off_files_are_refused(tmp_path):
    whole = colour_model().SerializeToString()
    path = tmp_path / "model.onnx"
    for length in np.linspace(1, len(whole) - 1, 60).astype(int):
        path.write_bytes(whole[:length])
        refusal(path)


def test_names_that_are_no_text_are_refused_without_a_word_of_onnxruntime(tmp_path, capfd):
    whole = colour_model().SerializeToString()
    path = tmp_path / "model.onnx"
    for name in (b"architecture", b"image", b"logits"):
        path.write_bytes(whole.replace(name, b"\xff" * len(name)))
        assert "onnxruntime does not take it" in refusal(path)
    assert capfd.readouterr() == ("", "")


def test_damaged_bytes_are_refused_or_harmless(tmp_path):
    """Nothing but `UserError` comes out, whatever is wrong with the bytes."""
    whole, random = colour_model().SerializeToString(), np.random.default_rng(0)
    path = tmp_path / "model.onnx"
    refused = 0
    for _ in range(200):
        damaged = bytearray(whole)
        for position in random.integers(0, len(whole), 4):
            damaged[position] = random.integers(256)
        path.write_bytes(damaged)
        try:
            load(path, threads=1).run(np.zeros((2, 4, 4, 3), np.uint8))
        except UserError:
            refused += 1
    assert 50 < refused < 200


def test_onnxruntime_missing_is_one_clear_line(tmp_path, monkeypatch):
    path = write_model(tmp_path / "colours.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"onnxruntime is not installed\. python -m pip install onnxruntime"):
        ModelFile.open(path)


def test_fields_have_the_numbers_that_onnx_gives_them():
    named = {"domain": "domain", "external_data": "external_data", "data_location": "data_location"}
    for message, fields in FIELDS.items():
        descriptor = getattr(onnx, message).DESCRIPTOR
        for number, kind in fields.items():
            field = descriptor.fields_by_number[number]
            assert (field.message_type.name if kind not in named else field.name) == kind
        # No way to a graph, an operator or a tensor is left out.
        wanted = {f.number for f in descriptor.fields if f.message_type and f.message_type.name in FIELDS}
        assert wanted <= set(fields)


def test_facts_are_those_that_onnx_reads():
    facts = read_facts(colour_model(opsets=[("unused", 1)]).SerializeToString())
    assert (facts.domains, facts.external_data, facts.has_graph) == ({""}, False, True)
    assert read_facts(branch_model().SerializeToString()).domains == {"", "deep"}
    assert read_facts(external_model().SerializeToString()).external_data


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data):
    try:
        facts = read_facts(data)
    except NotOnnx:
        return
    assert facts.has_graph


def nested(depth):
    """Return the bytes of a model with so many graphs, each in an attribute of an operator of the one around it."""

    def counted(number, contents):
        length = bytes([len(contents) & 127 | 128, len(contents) >> 7])  # a varint of two bytes
        return bytes([number << 3 | 2]) + length + contents

    graph = b""
    for _ in range(depth - 1):
        graph = counted(1, counted(5, counted(6, graph)))
    return counted(7, graph)


def test_graphs_within_graphs_without_end_are_refused():
    model = onnx.ModelProto.FromString(nested(3))
    assert model.graph.node[0].attribute[0].g.node[0].attribute[0].HasField("g")
    assert read_facts(nested(20)).has_graph
    with pytest.raises(NotOnnx, match="deep"):
        read_facts(nested(1000))


def test_paths_may_be_text_or_paths(tmp_path):
    path = write_model(tmp_path / "colours.onnx")
    assert ModelFile.open(str(path)).path == Path(path)
