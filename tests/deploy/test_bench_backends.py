"""Backends answer like PyTorch, on inputs that are ready, and say what they lack."""

import copy

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from leannet.deploy import backends
from leannet.deploy.backends import BACKENDS, Circumstances, Exports, check_backend, prepare_call, stopwatch_for
from leannet.measure.bench import CudaStopwatch, HostStopwatch
from leannet_runtime import UserError


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    model = nn.Sequential(*layers, nn.Linear(8, 5)).eval()
    nn.init.normal_(model[1].running_mean)
    nn.init.uniform_(model[1].running_var, 0.5, 2)
    return model


@pytest.fixture(scope="module")
def images():
    return torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def exports():
    return Exports()


def needed(backend):
    if backend == "openvino":
        pytest.importorskip("openvino", reason="openvino is not installed")
    return backend


MARKS = {"compile": pytest.mark.slow}


@pytest.mark.parametrize("backend", [pytest.param(name, marks=MARKS.get(name, ())) for name in BACKENDS])
def test_answers_are_those_of_pytorch(network, images, exports, backend):
    before = copy.deepcopy(network.state_dict())
    how = Circumstances()
    check_backend(needed(backend), how)
    call = prepare_call(backend, network, images, how, exports)
    with torch.inference_mode():
        expected, found = network(images).numpy(), call()
    assert isinstance(found, np.ndarray)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(
    ("how", "tolerance"), [(Circumstances(channels_last=True), 1e-5), (Circumstances(dtype="bfloat16"), 0.05)]
)
def test_layout_and_data_type(network, images, exports, how, tolerance):
    seen = []
    probe = copy.deepcopy(network)
    probe[0].register_forward_pre_hook(lambda module, given: seen.append((given[0], module.weight.dtype)))
    call = prepare_call("eager", probe, images, how, exports)
    with torch.inference_mode():
        expected = network(images).numpy()
        np.testing.assert_allclose(call(), expected, atol=tolerance)
    given, dtype = seen[-1]
    assert dtype == given.dtype == backends.DTYPES[how.dtype]
    assert given.is_contiguous(memory_format=torch.channels_last) is how.channels_last
    assert seen[-1][0].data_ptr() == seen[0][0].data_ptr()  # the input lay ready
    assert network[0].weight.dtype == torch.float32


def test_a_network_is_exported_once_for_a_size(network, images, monkeypatch):
    exported = []
    real = backends._export
    monkeypatch.setattr(backends, "_export", lambda *arguments: exported.append(arguments) or real(*arguments))
    exports = Exports()
    file = exports.file_of(network, images)
    assert exports.file_of(network, images[:1]) is file
    assert len(exported) == 1
    [given] = onnx.load_from_string(file).graph.input
    batch, *rest = given.type.tensor_type.shape.dim
    assert [dimension.dim_value for dimension in rest] == [3, 8, 8]
    assert not batch.dim_value  # open
    exports.file_of(network, torch.zeros(1, 3, 16, 16))
    exports.file_of(copy.deepcopy(network), images)
    assert len(exported) == 3


def test_threads_of_a_session(network, images, exports, monkeypatch):
    import onnxruntime

    made = []
    real = onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda file, options, **more: made.append(options) or real(file, options, **more),
    )
    prepare_call("onnxruntime", network, images, Circumstances(threads=2), exports)
    assert made[0].intra_op_num_threads == 2


class Undecided(nn.Module):
    """Which way it goes hangs on the image: no graph holds that."""

    def forward(self, x):
        return x.flatten(1) if x.sum() > 0 else -x.flatten(1)


def test_a_network_without_a_graph_raises(images, exports):
    with pytest.raises(Exception, match=r"(?i)export"):
        prepare_call("onnxruntime", Undecided().eval(), images, Circumstances(), exports)


def refused(backend, how=None):
    with pytest.raises(UserError) as refusal:
        check_backend(backend, how or Circumstances())
    return str(refusal.value)


def test_unknown_backend():
    assert refused("tensorrt").startswith("unknown backend tensorrt: there is no such. Choose from eager, compile, onn")


@pytest.mark.parametrize(
    ("backend", "missing", "words"),
    [
        ("openvino", {"openvino"}, "openvino is not installed. python"),
        ("onnxruntime", {"onnxscript", "onnxruntime"}, "onnxscript and onnxruntime are not installed. python"),
    ],
)
def test_backend_that_is_not_installed(monkeypatch, backend, missing, words):
    monkeypatch.setattr(backends, "find_spec", lambda name: None if name in missing else object())
    said = refused(backend)
    assert words in said
    assert f"-m pip install {' '.join(sorted(missing, key='onnx onnxscript onnxruntime openvino'.index))}, or" in said
    assert said.endswith(f"leave {backend} out of --backends.")


def test_what_backends_cannot_do(monkeypatch):
    monkeypatch.setattr(backends, "find_spec", lambda _: object())
    assert "its kernels take float32" in refused("onnxruntime", Circumstances(dtype="bfloat16"))
    assert "OpenVINO has no CUDA" in refused("openvino", Circumstances(device="cuda"))
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    assert "pip install onnxruntime-gpu" in refused("onnxruntime", Circumstances(device="cuda:1"))


def test_compiling_needs_a_compiler(monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert "torch.compile needs a C++ compiler. Install g++ or set CXX" in refused("compile")
    check_backend("compile", Circumstances(device="cuda"))
    check_backend("eager", Circumstances())


def test_stopwatches():
    gpu = Circumstances(device="cuda")
    assert isinstance(stopwatch_for("eager", Circumstances()), HostStopwatch)
    assert isinstance(stopwatch_for("eager", gpu), CudaStopwatch)
    assert isinstance(stopwatch_for("compile", gpu), CudaStopwatch)
    assert isinstance(stopwatch_for("onnxruntime", gpu), HostStopwatch)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no GPU")
@pytest.mark.parametrize("cuda_graph", [False, True])
def test_on_a_gpu(network, images, exports, cuda_graph):
    how = Circumstances(device="cuda", cuda_graph=cuda_graph)
    call = prepare_call("eager", network, images, how, exports)
    with torch.inference_mode():
        expected, found = network(images).numpy(), call().cpu().numpy()
        assert stopwatch_for("eager", how)(call) > 0
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-3)
