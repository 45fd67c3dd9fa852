"""Networks that answer batches, with exits and without, in PyTorch and in ONNX Runtime: what the benchmarks time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from leannet.deploy.export import DEFAULT_OPSET as OPSET
from leannet.deploy.formats.exits_graph import exits_graph
from leannet.deploy.formats.network_graph import module_graph
from leannet.early_exit import ExitPolicy, StagedClassifier

__all__ = ["Answer", "eager_full", "eager_staged", "onnx_full", "onnx_staged"]

Answer = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Normalised images ``(N, C, S, S)`` -> labels and exits (from 1), int64 ``(N,)``."""


def eager_full(network: nn.Module, exits: int = 1) -> Answer:
    """Run the whole network for every image."""
    network = network.eval().to(memory_format=torch.channels_last)

    def answer(images: Tensor) -> tuple[Tensor, Tensor]:
        with torch.inference_mode():
            labels = network(images).argmax(dim=1)
        return labels, torch.full_like(labels, exits)

    return answer


def eager_staged(network: nn.Module, policy: ExitPolicy) -> Answer:
    """Let images leave."""
    classifier = StagedClassifier(network.to(memory_format=torch.channels_last), policy, count_gates=False)

    def answer(images: Tensor) -> tuple[Tensor, Tensor]:
        found = classifier(images)
        return found.labels, found.exits

    return answer


def session(module: nn.Module, example: Tensor, threads: int) -> onnxruntime.InferenceSession:
    """Export a module with a dynamic batch, and load it."""
    return _open(module_graph(module.eval(), (example,), OPSET, ["x"], ["answer"], "the module"), threads)


def _open(model: Any, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def onnx_full(network: nn.Module, img_size: int, threads: int, exits: int = 1) -> Answer:
    """Run the whole network in ONNX Runtime."""
    network = network.eval().to(memory_format=torch.contiguous_format)
    whole = session(network, torch.zeros(2, 3, img_size, img_size), threads)
    name = whole.get_inputs()[0].name

    def answer(images: Tensor) -> tuple[Tensor, Tensor]:
        logits = whole.run(None, {name: np.ascontiguousarray(images.numpy())})[0]
        labels = torch.from_numpy(logits.argmax(axis=1))
        return labels, torch.full_like(labels, exits)

    return answer


def onnx_staged(network: nn.Module, policy: ExitPolicy, img_size: int, threads: int) -> Answer:
    """Run the one graph that images leave early, as ``leannet export`` writes it, in ONNX Runtime."""
    network = network.eval().to(memory_format=torch.contiguous_format)
    staged = _open(exits_graph(network, policy, img_size, OPSET, "image", "the network"), threads)

    def answer(images: Tensor) -> tuple[Tensor, Tensor]:
        given = {"image": np.ascontiguousarray(images.numpy())}
        probabilities, exits = staged.run(["probabilities", "exit"], given)
        return torch.from_numpy(probabilities.argmax(axis=1)), torch.from_numpy(exits)

    return answer
