"""Networks that answer batches, with exits and without, in PyTorch and in ONNX Runtime: what the benchmarks time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from leannet.early_exit import ExitPolicy, StagedClassifier
from leannet.early_exit.policy import Decision
from leannet.models import MultiExit

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


class _Segment(nn.Module):
    def __init__(self, network: nn.Module, index: int) -> None:
        super().__init__()
        self.network = network
        self.index = index

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        network = self.network
        assert isinstance(network, MultiExit)
        x = network.run_segment(self.index, x)
        return x, network.exit_logits(self.index, x)


def session(module: nn.Module, example: Tensor, threads: int) -> onnxruntime.InferenceSession:
    """Export a module with a dynamic batch, and load it."""
    batch = torch.export.Dim("batch", min=1, max=4096)
    program = torch.onnx.export(
        module.eval(), (example,), dynamo=True, dynamic_shapes=({0: batch},), verbose=False, optimize=True
    )
    assert program is not None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(
        program.model_proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


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
    """Run a file for each segment in ONNX Runtime, and decide in between."""
    assert isinstance(network, MultiExit)
    network = network.eval().to(memory_format=torch.contiguous_format)
    x = torch.zeros(2, 3, img_size, img_size)
    sessions: list[Any] = []
    for index in range(network.num_exits):
        segment = _Segment(network, index)
        sessions.append(session(segment, x, threads))
        with torch.inference_mode():
            x = segment(x)[0].clone()
    names = [each.get_inputs()[0].name for each in sessions]

    def answer(images: Tensor) -> tuple[Tensor, Tensor]:
        decision = Decision(policy, len(sessions))
        features = np.ascontiguousarray(images.numpy())
        labels = torch.empty(len(images), dtype=torch.int64)
        exits = torch.empty(len(images), dtype=torch.int64)
        left = torch.arange(len(images))
        for index, (each, name) in enumerate(zip(sessions, names, strict=True)):
            features, logits = each.run(None, {name: features})
            answers, leave = decision.step(torch.from_numpy(logits))
            gone = left[leave]
            labels[gone] = answers[leave].argmax(dim=1)
            exits[gone] = index + 1
            stay = (~leave).nonzero().flatten()
            if not len(stay):
                break
            left, features = left[stay], features[stay.numpy()]
            decision.keep(stay)
        return labels, exits

    return answer
