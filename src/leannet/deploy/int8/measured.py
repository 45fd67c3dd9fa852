"""What a rung of the ladder costs and brings, measured against the float network."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor

from leannet.deploy.int8.images import LabelledImages
from leannet.deploy.int8.ladder import Rung
from leannet.deploy.int8.outcome import Tried
from leannet.deploy.int8.quantiser import network_session
from leannet.measure import measure_difference, wilson_interval
from leannet.measure.bench import median_interval, time_in_rounds

__all__ = ["FloatNetwork"]

_BATCH = 32

_ROUNDS, _SECONDS = 100, 20.0


class FloatNetwork:
    """The graph that all others are held against, with its answers to the held-out images.

    Args:
        model: The float graph of the network alone.
        held_out: Images that the network has not learned from.
    """

    def __init__(self, model: onnx.ModelProto, held_out: LabelledImages) -> None:
        self.held_out, self.bytes = held_out, model.ByteSize()
        self.input_name = model.graph.input[0].name
        self.session = network_session(model)
        self.classes = self._classes(self.session)
        self.right = self._right(self.classes)
        self.top1 = wilson_interval(int(self.right.sum()), len(self.right))

    def measure(self, rung: Rung, model: onnx.ModelProto, float_layers: list[str]) -> Tried:
        """Measure a quantised graph."""
        session = network_session(model)
        classes = self._classes(session)
        right = self._right(classes)
        image = next(self.held_out.batches(1))
        calls = {"float": self._call(self.session, image), "int8": self._call(session, image)}
        # Of one thread: on a machine that is shared, waiting for a core would otherwise be counted.
        times = time_in_rounds(calls, rounds=_ROUNDS, seconds=_SECONDS, clock=time.thread_time).seconds
        ratios = [quantised / own for quantised, own in zip(times["int8"], times["float"], strict=True)]
        return Tried(
            rung=rung,
            float_layers=tuple(float_layers),
            top1=wilson_interval(int(right.sum()), len(right)),
            difference=measure_difference(self.right, right),
            agreement=100 * float((classes == self.classes).double().mean()),
            size=model.ByteSize() / self.bytes,
            latency=median_interval(ratios),
            float_milliseconds=1000 * statistics.median(times["float"]),
            milliseconds=1000 * statistics.median(times["int8"]),
        )

    def _call(self, session: Any, image: Any) -> Callable[[], object]:
        return lambda: session.run(["logits"], {self.input_name: image})

    def _classes(self, session: Any) -> Tensor:
        answers = [session.run(["logits"], {self.input_name: batch})[0] for batch in self.held_out.batches(_BATCH)]
        return torch.from_numpy(np.concatenate(answers)).argmax(dim=1)

    def _right(self, classes: Tensor) -> Tensor:
        return classes == torch.from_numpy(self.held_out.labels)
