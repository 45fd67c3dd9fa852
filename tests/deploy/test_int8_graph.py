"""Graphs of 8 bits against arithmetic written out in numpy, and what the ladder does when a form is not good enough."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from leannet.deploy.int8.climb import climb
from leannet.deploy.int8.images import LabelledImages
from leannet.deploy.int8.ladder import LADDER, OPERATORS, Rung
from leannet.deploy.int8.outcome import DropTooLarge
from leannet.deploy.int8.quantiser import Quantiser, needs_reduced_range
from leannet_runtime import Preprocessing

SIDE, CLASSES, HIDDEN = 8, 4, 6
PER_TENSOR, PER_CHANNEL = Rung("tensor", per_channel=False), Rung("channel")


def weights(uneven):
    """Two convolutions and a layer; with `uneven` channels one scale for a whole weight drowns the small ones."""
    random = np.random.default_rng(0)
    first = random.normal(size=(HIDDEN, 3, 3, 3)).astype(np.float32)
    second = random.normal(size=(HIDDEN, HIDDEN, 1, 1)).astype(np.float32)
    if uneven:
        scale = (1000.0 ** np.linspace(0, 1, HIDDEN)).astype(np.float32)
        first *= scale[:, None, None, None]
        second /= scale[None, :, None, None]
    return {
        "first": first,
        "second": second,
        "layer": random.normal(size=(CLASSES, HIDDEN)).astype(np.float32),
        "bias": random.normal(size=CLASSES).astype(np.float32),
    }


def graph(uneven=False):
    nodes = [
        helper.make_node("Conv", ["image", "first"], ["a"], name="conv_first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("Conv", ["b", "second"], ["c"], name="conv_second"),
        helper.make_node("GlobalAveragePool", ["c"], ["d"], name="pool"),
        helper.make_node("Flatten", ["d"], ["e"], name="flat"),
        helper.make_node("Gemm", ["e", "layer", "bias"], ["logits"], name="gemm", transB=1),
        helper.make_node("Softmax", ["logits"], ["probabilities"], name="softmax", axis=1),
    ]
    return helper.make_model(
        helper.make_graph(
            nodes,
            "small",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", CLASSES]) for name in OUTPUTS],
            [numpy_helper.from_array(value, name) for name, value in weights(uneven).items()],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )


OUTPUTS = ("logits", "probabilities")


def run(model, batch):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"image": batch})[0]


def images(count, part, model, seed):
    """Tinted noise, labelled with what the float graph answers: it is right on all of them."""
    random = np.random.default_rng(seed)
    noise, tint = random.integers(0, 128, (count, SIDE, SIDE, 3)), random.integers(0, 128, (count, 1, 1, 3))
    pixels = (noise + tint).astype(np.uint8)
    preprocessing = Preprocessing(SIDE, crop_pct=1.0)
    labels = run(model, preprocessing.normalise(pixels)).argmax(axis=1)
    assert len(set(labels)) > 1
    return LabelledImages(pixels, labels, "noise", part, preprocessing)


@pytest.fixture(scope="module")
def calibration():
    return images(64, "train", graph(), 0)


def dequantised(model):
    """Weights as the file holds them, by the definition of DequantizeLinear."""
    constants = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    found = {}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            values, scale = constants[node.input[0]], constants[node.input[1]]
            shape = [-1] + [1] * (values.ndim - 1) if scale.ndim else []
            found[node.input[0].removesuffix("_quantized")] = (values, values * scale.reshape(shape), scale)
    return found


@pytest.mark.parametrize("rung", [PER_TENSOR, PER_CHANNEL], ids=lambda rung: rung.name)
def test_weights_are_rounded_to_the_nearest_of_255_steps(calibration, rung):
    model, left = Quantiser(graph(True), calibration, reduce_range=False).quantise(rung)
    assert left == []
    held = dequantised(model)
    for name in ("first", "second", "layer"):
        values, found, scale = held[name]
        assert values.dtype == np.int8
        wanted = weights(True)[name]
        axes = tuple(range(1, wanted.ndim)) if rung.per_channel else None
        step = np.abs(wanted).max(axis=axes, keepdims=True) / 127
        np.testing.assert_allclose(np.ravel(scale), np.ravel(step), rtol=0.01)
        assert (np.abs(found - wanted) <= 0.51 * step + 1e-6).all()


def test_with_a_reduced_range_weights_have_7_bits(calibration):
    for reduced, most in ((False, 127), (True, 64)):
        model, _ = Quantiser(graph(), calibration, reduce_range=reduced).quantise(PER_CHANNEL)
        largest = max(
            int(np.abs(values.astype(int)).max())
            for values, _, _ in dequantised(model).values()
            if values.dtype == np.int8
        )
        assert most - 1 <= largest <= most


def test_inputs_and_outputs_stay_and_softmax_stays_in_float(calibration):
    float_graph = graph()
    model, _ = Quantiser(float_graph, calibration, reduce_range=False).quantise(PER_CHANNEL)
    onnx.checker.check_model(model, full_check=True)
    assert model.graph.input == float_graph.graph.input
    assert [each.name for each in model.graph.output] == list(OUTPUTS)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 18)]
    assert "Softmax" not in OPERATORS
    softmax = next(node for node in model.graph.node if node.op_type == "Softmax")
    assert list(softmax.output) == ["probabilities"]
    batch = calibration.preprocessing.normalise(calibration.pixels[:7])
    close = np.abs(run(model, batch) - run(float_graph, batch)).max()
    assert 0 < close <= 0.1 * np.abs(run(float_graph, batch)).max()


def test_the_layers_that_disturb_most_are_left_in_float(calibration):
    """Channels a thousand times apart share one scale between the convolutions; the last layer is harmless."""
    float_graph = graph(uneven=True)
    quantiser = Quantiser(float_graph, calibration, reduce_range=False)
    batch = calibration.preprocessing.normalise(calibration.pixels[:32])
    wanted = run(float_graph, batch)

    def error(model):
        return float(np.square(run(model, batch) - wanted).mean())

    everything = error(quantiser.quantise(PER_CHANNEL)[0])
    model, left = quantiser.quantise(Rung("worst", float_share=2 / 3))
    assert set(left) == {"conv_first", "conv_second"}
    assert {each.name for each in model.graph.initializer} >= {"first", "second"}  # in float
    assert error(model) < 0.1 * everything


def test_the_ladder_stops_at_the_first_rung_that_loses_little(calibration):
    float_graph = graph()
    held_out = images(300, "test", float_graph, 1)
    model, quantised = climb(float_graph, calibration, held_out, 10.0, reduce_range=False)
    assert [each.rung for each in quantised.tried] == [LADDER[0]]
    batches = np.concatenate([run(model, batch) for batch in held_out.batches(100)])
    agreement = 100 * (batches.argmax(axis=1) == held_out.labels).mean()
    taken = quantised.taken
    assert quantised.float_top1.value == 100
    # The float graph is right everywhere, so what is lost is just what disagrees.
    assert taken.agreement == pytest.approx(agreement)
    assert taken.drop == pytest.approx(100 - agreement)
    assert taken.size == model.ByteSize() / float_graph.ByteSize()
    record = quantised.record()
    assert record["calibration"] == {"images": 64, "data": "noise", "part": "train"}
    assert record["judged_on"] == {"images": 300, "data": "noise", "part": "test"}
    assert record["drop"]["low"] <= record["drop"]["value"] <= record["drop"]["high"]


def test_a_graph_that_loses_too_much_climbs_and_is_refused(calibration):
    float_graph = graph(uneven=True)
    held_out = images(300, "test", float_graph, 1)
    ladder = (PER_TENSOR, PER_CHANNEL)
    with pytest.raises(DropTooLarge, match="no form loses 0 points") as refused:
        climb(float_graph, calibration, held_out, 0.0, ladder=ladder, reduce_range=False)
    assert [each.rung for each in refused.value.tried.tried] == list(ladder)
    assert min(each.drop for each in refused.value.tried.tried) > 0


@pytest.mark.parametrize(
    ("machine", "flags", "reduced"),
    [
        ("x86_64", "flags : fpu avx2", True),
        ("x86_64", "flags : fpu avx2 avx512f avx512_vnni", False),
        ("AMD64", "flags : fpu avx2 avx_vnni", False),
        ("x86_64", None, True),
        ("aarch64", "Features : fp asimd", False),
        ("x86_64", "flags : not_avx_vnni_really", True),
    ],
)
def test_the_range_is_reduced_on_x86_without_vnni(tmp_path, machine, flags, reduced):
    cpuinfo = tmp_path / "cpuinfo"
    if flags is not None:
        cpuinfo.write_text(flags)
    assert needs_reduced_range(machine, cpuinfo) is reduced
