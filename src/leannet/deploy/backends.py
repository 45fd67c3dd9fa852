"""What runs a network: PyTorch as it is or compiled, or the runtime of a file; each as a call on ready inputs."""

from __future__ import annotations

import copy
import io
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from leannet.deploy.backend_files import Exports
from leannet.measure.bench import CudaStopwatch, HostStopwatch, Stopwatch
from leannet_runtime import UserError

__all__ = [
    "BACKENDS",
    "DTYPES",
    "Circumstances",
    "check_backend",
    "openvino_config",
    "prepare_call",
    "session_options",
    "stopwatch_for",
]

BACKENDS = ("eager", "compile", "onnxruntime", "openvino", "executorch")

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

Call = Callable[[], Any]
"""Runs a network and returns its logits, ``(N, classes)``: on the CPU an array that has been read to the end; on a GPU,
by a backend of PyTorch, a tensor that may still be in the making."""


@dataclass(frozen=True)
class Circumstances:
    """Where and how a network runs.

    Args:
        device: "cpu", "cuda", "cuda:N", or several with commas, "cuda:0,cuda:1": each takes its share of a batch.
        threads: On the CPU. PyTorch's own number is set by whoever calls, for it belongs to the process.
        dtype: A key of `DTYPES`.
        channels_last: How weights and images of PyTorch lie in memory.
        cuda_graph: Record the kernels of the network once and start them together.
    """

    device: str = "cpu"
    threads: int = 1
    dtype: str = "float32"
    channels_last: bool = False
    cuda_graph: bool = False

    @property
    def on_gpu(self) -> bool:
        """Whether it is a GPU."""
        return self.device != "cpu"

    @property
    def devices(self) -> tuple[torch.device, ...]:
        """One by one; the first has the images before and the logits after."""
        return tuple(torch.device(name) for name in self.device.split(","))


def check_backend(backend: str, how: Circumstances) -> None:
    """Refuse a backend that cannot run here.

    Raises:
        UserError: It is unknown, not installed, or does not do what is asked.
    """
    if backend not in BACKENDS:
        raise UserError(f"unknown backend {backend}", "there is no such", f"Choose from {', '.join(BACKENDS)}")
    what, python = f"cannot run networks with {backend}", Path(sys.executable).name
    if len(how.devices) > 1 and (backend != "eager" or how.cuda_graph):
        why = "only eager PyTorch, without a CUDA graph, divides a batch"
        raise UserError(f"{what} on {how.device}", why, "Name one device, or leave the rest away")
    leave = f"leave {backend} out of --backends"
    needed = {
        "onnxruntime": ("onnx", "onnxscript", "onnxruntime"),
        "openvino": ("onnx", "onnxscript", "openvino"),
        "executorch": ("executorch",),
    }
    missing = [package for package in needed.get(backend, ()) if find_spec(package) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        remedy = f"{python} -m pip install {' '.join(missing)}, or {leave}"
        raise UserError(what, f"{' and '.join(missing)} {verb} not installed", remedy)
    if how.on_gpu and backend in ("openvino", "executorch"):
        raise UserError(f"{what} on {how.device}", "it runs here on the CPU only", f"Pass --device cpu, or {leave}")
    if how.on_gpu and backend == "onnxruntime":
        import onnxruntime

        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            remedy = f"{python} -m pip install onnxruntime-gpu in place of onnxruntime, or {leave}"
            raise UserError(f"{what} on {how.device}", "the onnxruntime installed has no CUDA", remedy)
    if backend in ("onnxruntime", "executorch") and how.dtype != "float32":
        raise UserError(f"{what} in {how.dtype}", "its kernels take float32", f"Pass --dtype float32, or {leave}")
    if backend == "compile" and not how.on_gpu:
        compilers = [os.environ.get("CXX", ""), "g++", "clang++", "cl"]
        if not any(name and shutil.which(name) for name in compilers):
            raise UserError(what, "torch.compile needs a C++ compiler", f"Install g++ or set CXX, or {leave}")


def stopwatch_for(backend: str, how: Circumstances) -> Stopwatch:
    """Return what times the calls of a backend: events where PyTorch works on a GPU, else the clock."""
    if how.on_gpu and backend in ("eager", "compile"):
        return CudaStopwatch(how.devices[0])
    return HostStopwatch()


def prepare_call(backend: str, model: nn.Module, images: Tensor, how: Circumstances, exports: Exports) -> Call:
    """Bring a network into a backend.

    Args:
        backend: One of `BACKENDS`; see `check_backend`.
        model: On the CPU, float32, in evaluation mode; it is left as it is.
        images: ``(N, C, H, W)``, float32, on the CPU.
        how: Device, threads, data type, layout.
        exports: Files made earlier, and a place for new ones.

    Returns:
        The call. It holds inputs of its own, converted and in place. It wants ``torch.inference_mode``.

    Raises:
        Exception: Whatever the backend raises if it cannot take this network.
    """
    if backend == "onnxruntime":
        return _onnx_runtime(exports.file_of(model, images), images, how)
    if backend == "openvino":
        return _openvino(exports.file_of(model, images, "openvino"), images, how)
    if backend == "executorch":
        return _executorch(exports.file_of(model, images, "executorch"), images, how)
    place: dict[str, Any] = {"device": how.devices[0], "dtype": DTYPES[how.dtype]}
    place["memory_format"] = torch.channels_last if how.channels_last else torch.contiguous_format
    own, ready = copy.deepcopy(model).to(**place), images.to(**place)
    if len(how.devices) > 1:
        return _divided(own, ready, how.devices)
    network: Callable[[Tensor], Tensor] = torch.compile(own, dynamic=False) if backend == "compile" else own
    with torch.inference_mode():
        network(ready)  # compiled here, with the threads that are set now
    if not how.on_gpu:
        return lambda: _read(network(ready).float().numpy())  # numpy has no bfloat16
    return _recorded(network, ready) if how.cuda_graph else lambda: network(ready)


def _read(answer: Any) -> Any:
    """Look at every logit, so that nothing is left undone when the clock stops; return them."""
    answer.max()
    return answer


def _divided(model: nn.Module, images: Tensor, devices: tuple[torch.device, ...]) -> Call:
    """Divide each batch among GPUs. The weights lie on all of them before; scattering and gathering are timed."""
    from torch.nn.parallel import gather, parallel_apply, replicate, scatter

    places = [device.index for device in devices]
    replicas = replicate(model, places, detach=True)

    def call() -> Tensor:
        parts = scatter(images, places)
        answers: Tensor = gather(parallel_apply(replicas[: len(parts)], [(part,) for part in parts]), places[0])
        return answers

    return call


def _recorded(network: Callable[[Tensor], Tensor], images: Tensor) -> Call:
    """Record a CUDA graph: the host starts one thing instead of each kernel."""
    with torch.cuda.device(images.device), torch.inference_mode():
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # libraries choose their algorithms before anything is recorded
            for _ in range(3):
                network(images)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            answer = network(images)

    def call() -> Tensor:
        graph.replay()
        return answer

    return call


def session_options(threads: int) -> Any:
    """Return the options with which onnxruntime is timed."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Threads that wait actively would take cores away from the network whose turn is next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return options


def openvino_config(threads: int, dtype: str = "float32") -> dict[str, Any]:
    """Return the properties with which OpenVINO is timed, on one image after another."""
    precision = {"float32": "f32", "bfloat16": "bf16"}[dtype]
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": precision,
    }


def _onnx_runtime(file: bytes, images: Tensor, how: Circumstances) -> Call:
    import onnxruntime

    options = session_options(how.threads)
    if not how.on_gpu:
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        feed = {session.get_inputs()[0].name: np.ascontiguousarray(images.numpy())}
        return lambda: _read(session.run(None, feed)[0])
    index = how.devices[0].index or 0
    providers = [("CUDAExecutionProvider", {"device_id": index}), "CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(file, options, providers=providers)
    binding = session.io_binding()
    ready = onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(images.numpy()), "cuda", index)
    binding.bind_ortvalue_input(session.get_inputs()[0].name, ready)
    binding.bind_output(session.get_outputs()[0].name, "cpu")

    def call() -> Any:
        session.run_with_iobinding(binding)
        return _read(binding.copy_outputs_to_cpu()[0])

    return call


def _openvino(file: bytes, images: Tensor, how: Circumstances) -> Call:
    from leannet.deploy.formats.openvino_core import openvino_core  # needs the extra packages

    core = openvino_core()
    compiled = core.compile_model(core.read_model(io.BytesIO(file)), "CPU", openvino_config(how.threads, how.dtype))
    request, ready = compiled.create_infer_request(), np.ascontiguousarray(images.numpy())
    return lambda: _read(request.infer([ready], share_inputs=True)[compiled.output(0)])


def _executorch(file: bytes, images: Tensor, how: Circumstances) -> Call:
    from leannet.deploy.formats.executorch_file import program_runner  # needs its package

    run, ready = program_runner(file, how.threads), np.ascontiguousarray(images.numpy())
    return lambda: _read(run(ready)[0])
