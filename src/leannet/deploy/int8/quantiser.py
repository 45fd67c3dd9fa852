"""A float graph and its calibration, from which quantised graphs of every rung are made."""

from __future__ import annotations

import copy
import functools
import logging
import platform
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QDQQuantizer,
    QuantType,
    create_calibrator,
    quant_pre_process,
)

from leannet.deploy.int8.images import LabelledImages
from leannet.deploy.int8.ladder import GATES, OPERATORS, WEIGHTED, Ranges, Rung

__all__ = ["Quantiser", "needs_reduced_range", "network_session"]

SENSITIVITY_IMAGES = 32

# Percentiles look at all activations of a batch at once, which at 224 pixels takes 50 MiB an image.
_BATCH = 8

_OPTIONS: dict[Ranges, tuple[Any, dict[str, Any]]] = {
    "minmax": (CalibrationMethod.MinMax, {}),
    "percentile": (CalibrationMethod.Percentile, {"percentile": 99.99}),
}


def needs_reduced_range(machine: str = "", cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Say whether weights must keep to 7 bits: on x86 without VNNI two products of 8 bits overflow 16.

    Args:
        machine: Kind of processor; by default that of this machine.
        cpuinfo: What Linux says of it; without it, x86 is taken to have no VNNI.

    Source: the guidance in `onnxruntime.quantization.quantize_static`.
    """
    if (machine or platform.machine()).lower() not in ("x86_64", "amd64", "i386", "i686"):
        return False
    try:
        words = set(cpuinfo.read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        return True
    return not words & {"avx512_vnni", "avx_vnni"}


def network_session(model: onnx.ModelProto) -> Any:
    """Open a graph in ONNX Runtime, with one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


class Quantiser:
    """Makes graphs of 8 bits: ONNX Runtime's QDQ form, activations QUInt8, weights QInt8.

    Args:
        model: The float graph of the network alone.
        calibration: The images whose activations give the ranges.
        reduce_range: See `needs_reduced_range`.
    """

    def __init__(self, model: onnx.ModelProto, calibration: LabelledImages, *, reduce_range: bool) -> None:
        self.original, self.calibration, self.reduce_range = model, calibration, reduce_range
        self.input_name = model.graph.input[0].name
        with tempfile.TemporaryDirectory() as folder, _quiet():
            given, prepared = Path(folder) / "given.onnx", Path(folder) / "prepared.onnx"
            onnx.save(model, given)
            quant_pre_process(given, prepared, skip_symbolic_shape=True)  # the exporter has noted all shapes down
            self.prepared = onnx.load(prepared)
        self._ranges: dict[Ranges, Any] = {}

    @property
    def layers(self) -> list[str]:
        """Names of the nodes with constant weights, in their order."""
        constants = {weight.name for weight in self.prepared.graph.initializer}
        return [
            node.name
            for node in self.prepared.graph.node
            if node.op_type in WEIGHTED and not constants.isdisjoint(node.input)
        ]

    def quantise(self, rung: Rung) -> tuple[onnx.ModelProto, list[str]]:
        """Make the graph of a rung.

        Returns:
            The graph, with inputs and outputs as they were; and the names of the layers that stayed in float.
        """
        count = round(rung.float_share * len(self.layers))
        left = self.worst_layers[:count] if count else []
        return self._graph(rung, leave=left), left

    @functools.cached_property
    def worst_layers(self) -> list[str]:
        """The layers, first those that disturb the logits most when they alone are quantised (per channel).

        The disturbance is the mean square of the change of the logits over 32 calibration images. It asks for the
        effect at the end, where `onnxruntime.quantization.qdq_loss_debug` compares a layer's own output. What a layer
        in float takes from a quantised neighbour is still rounded; but then the neighbour disturbs too, and is left.
        """
        images = next(self.calibration.batches(SENSITIVITY_IMAGES))

        def logits(model: onnx.ModelProto) -> NDArray[np.float64]:
            answer = network_session(model).run(["logits"], {self.input_name: images})[0]
            return np.asarray(answer, np.float64)

        wanted = logits(self.prepared)
        disturbance = {
            layer: float(np.square(logits(self._graph(Rung("one layer"), only=layer)) - wanted).mean())
            for layer in self.layers
        }
        return sorted(disturbance, key=lambda layer: -disturbance[layer])

    @property
    def has_gates(self) -> bool:
        """Whether the network has operators of `GATES`."""
        return any(node.op_type in GATES for node in self.prepared.graph.node)

    def _graph(self, rung: Rung, leave: Sequence[str] = (), only: str | None = None) -> onnx.ModelProto:
        operators = [*OPERATORS, *GATES] if rung.gates else list(OPERATORS)
        found = copy.deepcopy(self._calibrated(rung.ranges))  # the quantiser changes ranges in place
        with _quiet():
            quantizer = QDQQuantizer(
                copy.deepcopy(self.prepared), rung.per_channel, self.reduce_range, QuantType.QInt8, QuantType.QUInt8,
                found, [] if only is None else [only], list(leave), operators, {},
            )  # fmt: skip
            quantizer.quantize_model()
        quantizer.model.topological_sort()
        model = quantizer.model.model
        foreign = {node.domain for node in model.graph.node} - {"", "ai.onnx"}
        assert not foreign, foreign
        # ONNX Runtime notes down all the domains it knows, and its own version of the format.
        del model.opset_import[:], model.metadata_props[:]
        model.opset_import.extend(self.original.opset_import)
        model.ir_version = self.original.ir_version
        return model

    def _calibrated(self, ranges: Ranges) -> Any:
        """Return the ranges of all activations, read off the calibration images once."""
        if ranges not in self._ranges:
            method, options = _OPTIONS[ranges]
            with tempfile.TemporaryDirectory() as folder, _quiet():
                before, path = Path(folder) / "prepared.onnx", Path(folder) / "augmented.onnx"
                onnx.save(self.prepared, before)
                calibrator = create_calibrator(
                    before, [*OPERATORS, *GATES], str(path), calibrate_method=method, extra_options=options
                )
                for batch in self.calibration.batches(_BATCH):
                    calibrator.collect_data(_One({self.input_name: batch}))
                self._ranges[ranges] = calibrator.compute_data()
        return self._ranges[ranges]


class _One(CalibrationDataReader):
    """Hands out one batch: told of one at a time, the calibration keeps no more than its activations in memory."""

    def __init__(self, batch: dict[str, NDArray[np.float32]]) -> None:
        self.left = [batch]

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return self.left.pop() if self.left else None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what ONNX Runtime's quantisation prints and logs from the user."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.CRITICAL)
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        root.setLevel(level)
