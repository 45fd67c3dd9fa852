"""Small exported files, made with the onnx package: a network that tells colours, whose answers anybody can compute."""

import json

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save

COLOURS = ("red", "green", "blue")
SIZE = 8
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
SHARPNESS = np.float32(8.0)


def description(**changes):
    """Return the JSON of the metadata."""
    return {
        "format": 1,
        "architecture": "colours",
        "model_args": {},
        "num_classes": 3,
        "label_names": list(COLOURS),
        "preprocess": "inside",
        "preprocessing": {
            "input_size": [3, SIZE, SIZE],
            "crop_pct": 0.5,
            "interpolation": "bilinear",
            "mean": list(MEAN),
            "std": list(STD),
            "crop_mode": "center",
        },
        "early_exit": None,
    } | changes


def colour_model(changes=None, *, outputs=("logits", "probabilities"), domain="", channels=3, batch="N", opsets=()):
    """Make a model whose logits are the mean colour, times `SHARPNESS`, on the scale 0..1 (inside) or normalised.

    Networks with exits answer grey images, whose classes are all alike, by exit 2, and the others by exit 1.
    """
    described = description(**(changes or {}))
    inside = described["preprocess"] != "outside"
    axes = [1, 2] if inside else [2, 3]
    shape = [batch, "H", "W", channels] if inside else [batch, channels, SIZE, SIZE]
    image = helper.make_tensor_value_info("image", TensorProto.UINT8 if inside else TensorProto.FLOAT, shape)
    weights = np.eye(channels, 3, dtype=np.float32) * SHARPNESS / np.float32(255 if inside else 1)
    constants = {
        "axes": np.array(axes, np.int64),
        "weights": weights,
        "third": np.float32(0.34),
        "one": np.array(1, np.int64),
        "classes": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["logits"], domain=domain),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
        helper.make_node("ReduceMax", ["probabilities", "classes"], ["largest"], keepdims=0),
        helper.make_node("Less", ["largest", "third"], ["unsure"]),
        helper.make_node("Cast", ["unsure"], ["late"], to=TensorProto.INT64),
        helper.make_node("Add", ["late", "one"], ["exit"]),
    ]
    kinds = {"exit": (TensorProto.INT64, [batch])}
    answers = [
        helper.make_tensor_value_info(name, *kinds.get(name, (TensorProto.FLOAT, [batch, 3]))) for name in outputs
    ]
    initial = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "colours", [image], answers, initial)
    imports = [helper.make_opsetid("", 18), *(helper.make_opsetid(*each) for each in opsets)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10)
    helper.set_model_props(model, {"task": "classify", "leannet": json.dumps(described)})
    if not domain:
        checker.check_model(model)
    return model


def write_model(path, model=None, **options):
    """Write a model (by default `colour_model`) and return its path."""
    save(model or colour_model(**options), str(path))
    return path


def softmax(logits):
    """Compute in double precision what the model computes."""
    powers = np.exp(np.asarray(logits, dtype=np.float64))
    return powers / powers.sum(axis=-1, keepdims=True)
