"""Backends answer like PyTorch, on inputs that are ready, and say what they lack."""

import copy
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from leannet.blocks import Duplicate, DuplicateBranches, DuplicatePlanes
from leannet.deploy import backend_files, backends
from leannet.deploy.backend_files import Exports
from leannet.deploy.backends import (
    BACKENDS,
    Circumstances,
    _divided,
    check_backend,
    prepare_call,
    stopwatch_for,
)
from leannet.deploy.formats.network_graph import in_form
from leannet.measure.bench import CudaStopwatch, HostStopwatch
from leannet.models import create_network
from leannet.report.bench import BenchRequest
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
    if backend in ("openvino", "executorch"):
        pytest.importorskip(backend, reason=f"{backend} is not installed")
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
    real = backend_files._export
    monkeypatch.setattr(backend_files, "_export", lambda *arguments: exported.append(arguments) or real(*arguments))
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


def test_openvino_is_timed_in_the_form_in_which_it_is_shipped(network, images):
    torch.manual_seed(0)
    dmp, exports = create_network("efficientnet_b0_dmp", num_classes=5, img_size=32).eval(), Exports()
    kinds = {}
    for file_format in ("onnx", "openvino"):
        graph = onnx.load_from_string(exports.file_of(dmp, torch.randn(1, 3, 32, 32), file_format)).graph
        kinds[file_format] = {node.op_type for node in graph.node} & {"ReduceMax", "Max"}
    assert kinds == {"onnx": {"ReduceMax"}, "openvino": {"Max"}}
    assert not any(isinstance(module, DuplicatePlanes) for module in dmp.modules())  # it is left as it is
    assert exports.file_of(network, images) is exports.file_of(network, images, "openvino")
    as_it_is = Exports(as_they_are=True)
    assert as_it_is.file_of(dmp, torch.randn(1, 3, 32, 32), "openvino") == exports.file_of(
        dmp, torch.randn(1, 3, 32, 32)
    )


@pytest.mark.parametrize(
    ("file_format", "block"), [("onnx", Duplicate), ("openvino", DuplicatePlanes), ("executorch", DuplicateBranches)]
)
def test_each_kind_of_file_has_its_form(file_format, block):
    dmp = create_network("efficientnet_b0_dmp", num_classes=5, img_size=32).eval()
    kinds = {type(module) for module in in_form(dmp, file_format).modules()}
    assert kinds & {Duplicate, DuplicatePlanes, DuplicateBranches} == {block}


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
        ("openvino", ("openvino",), "openvino is not installed. python"),
        ("onnxruntime", ("onnxscript", "onnxruntime"), "onnxscript and onnxruntime are not installed. python"),
        ("executorch", ("executorch",), "executorch is not installed. python"),
    ],
)
def test_backend_that_is_not_installed(monkeypatch, backend, missing, words):
    monkeypatch.setattr(backends, "find_spec", lambda name: None if name in missing else object())
    said = refused(backend)
    assert words in said
    assert (
        f"-m pip install {' '.join(sorted(missing, key='onnx onnxscript onnxruntime openvino executorch'.index))}, or"
        in said
    )
    assert said.endswith(f"leave {backend} out of --backends.")


def test_what_backends_cannot_do(monkeypatch):
    monkeypatch.setattr(backends, "find_spec", lambda _: object())
    assert "its kernels take float32" in refused("onnxruntime", Circumstances(dtype="bfloat16"))
    assert "its kernels take float32" in refused("executorch", Circumstances(dtype="bfloat16"))
    for backend in ("openvino", "executorch"):
        assert "it runs here on the CPU only" in refused(backend, Circumstances(device="cuda"))
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


@pytest.mark.parametrize(
    ("device", "batch", "said"),
    [
        ("cuda:0,cuda:1", 1, "a batch of 1 cannot be divided evenly among 2 GPUs"),
        ("cuda:0,cuda:1", 3, "a batch of 3 cannot be divided evenly among 2 GPUs"),
        ("cuda:0,cuda:0", 4, "it names a GPU twice"),
        ("cuda:0,cuda:2", 4, "the last GPU is cuda:1"),
        ("cuda:0,cuda", 4, "of several each is a cuda:N"),
        ("cuda:0, cuda:1", 4, None),
    ],
)
def test_several_gpus_are_named_one_by_one(monkeypatch, device, batch, said):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    request = BenchRequest(("resnet20_cifar",), device=device, batch_sizes=(batch,))
    if said is None:
        how = request.settled().circumstances(1)
        assert [str(each) for each in how.devices] == ["cuda:0", "cuda:1"]
        assert "only eager PyTorch" in refused("compile", how)
        assert "only eager PyTorch" in refused("eager", replace(how, cuda_graph=True))
    else:
        with pytest.raises(UserError, match=said):
            request.settled()


def test_a_batch_is_divided_and_put_together_again(network, images, monkeypatch):
    """Devices of the CPU stand in for GPUs: what PyTorch does between devices is taken from here."""
    seen = []

    def apply(replicas, inputs):
        seen.extend(len(part) for (part,) in inputs)
        return [replica(part) for replica, (part,) in zip(replicas, inputs, strict=True)]

    monkeypatch.setattr("torch.nn.parallel.replicate", lambda model, devices, **_: [model] * len(devices))
    monkeypatch.setattr("torch.nn.parallel.scatter", lambda batch, devices: batch.chunk(len(devices)))
    monkeypatch.setattr("torch.nn.parallel.parallel_apply", apply)
    monkeypatch.setattr("torch.nn.parallel.gather", lambda parts, _: torch.cat(parts))
    batch = torch.cat([images, images, images])[:3]
    with torch.inference_mode():
        found = _divided(network, batch, (torch.device("cpu"),) * 2)()
        assert torch.allclose(found, network(batch), atol=1e-5)
    assert seen == [2, 1]


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="PyTorch finds fewer than two GPUs")
def test_on_two_gpus(network, images, exports):
    how = Circumstances(device="cuda:0,cuda:1")
    batch = torch.cat([images] * 4)
    with torch.inference_mode():
        call = prepare_call("eager", network, batch, how, exports)
        assert torch.allclose(call().float().cpu(), network(batch), atol=1e-3)
        assert stopwatch_for("eager", how)(call) > 0
