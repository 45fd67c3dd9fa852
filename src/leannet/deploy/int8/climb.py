"""The ladder, climbed until the loss of accuracy is small enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import onnx

from leannet.deploy.int8.images import LabelledImages
from leannet.deploy.int8.ladder import GATES, GOALS, LADDER, LEAST_AGREEMENT, OPERATORS, WEIGHTED, Rung
from leannet.deploy.int8.measured import FloatNetwork
from leannet.deploy.int8.outcome import DropTooLarge, Quantised, Tried
from leannet.deploy.int8.quantiser import Quantiser, needs_reduced_range

__all__ = ["climb"]


def climb(
    model: onnx.ModelProto,
    calibration: LabelledImages,
    held_out: LabelledImages,
    max_drop: float,
    *,
    ladder: Sequence[Rung] = LADDER,
    reduce_range: bool | None = None,
    on_step: Callable[[str], None] = lambda _: None,
) -> tuple[onnx.ModelProto, Quantised]:
    """Quantise a network by the first rung that loses little enough.

    Args:
        model: The float graph of the network alone, without preprocessing.
        calibration: Training images.
        held_out: Images to judge by.
        max_drop: Points of top-1 accuracy that may be lost on them; besides, the best class must stay for
            `LEAST_AGREEMENT` of them.
        ladder: What is tried, in this order.
        reduce_range: Whether weights keep to 7 bits; by default as this machine needs it.
        on_step: Told what is done now.

    Returns:
        The quantised graph with the inputs and outputs of `model`, and what was tried.

    Raises:
        DropTooLarge: None loses little enough.
    """
    reduced = needs_reduced_range() if reduce_range is None else reduce_range
    on_step(f"calibrating on {len(calibration):,} images, judging on {len(held_out):,}")
    network = FloatNetwork(model, held_out)
    quantiser = Quantiser(model, calibration, reduce_range=reduced)
    tried: list[Tried] = []
    for rung in ladder:
        if not rung.gates and not quantiser.has_gates:
            continue
        on_step(f"8 bits {rung.name}")
        quantised, float_layers = quantiser.quantise(rung)
        tried.append(network.measure(rung, quantised, float_layers))
        if tried[-1].drop <= max_drop and tried[-1].agreement >= LEAST_AGREEMENT:
            notes = _limits(quantised, tried[-1])
            return quantised, Quantised(
                network.top1, tuple(tried), calibration, held_out, reduced, max_drop, tuple(notes)
            )
    raise DropTooLarge(Quantised(network.top1, tuple(tried), calibration, held_out, reduced, max_drop))


def _limits(model: onnx.ModelProto, taken: Tried) -> list[str]:
    """Say which goals are missed, and what is in the way."""
    notes = []
    constants = {weight.name: weight for weight in model.graph.initializer}
    if taken.size > GOALS["size"]:
        weights = (
            sum(weight.ByteSize() for weight in constants.values() if weight.data_type == onnx.TensorProto.INT8)
            / model.ByteSize()
        )
        notes.append(
            f"the network takes {taken.size:.0%} of its size in float, hoped for {GOALS['size']:.0%}: its weights of 8 "
            f"bits are {weights:.0%} of it, the rest describes the graph, its scales, and what stays in float"
        )
    if taken.latency.value > GOALS["latency"]:
        quantised_kinds = (*OPERATORS, *GATES) if taken.rung.gates else OPERATORS
        stays = Counter(node.op_type for node in model.graph.node if node.op_type not in quantised_kinds)
        for name in ("QuantizeLinear", "DequantizeLinear"):
            stays.pop(name, None)
        kinds = ", ".join(f"{count} {kind}" for kind, count in stays.most_common(5))
        layers = f", {len(taken.float_layers)} {'/'.join(WEIGHTED)}" if taken.float_layers else ""
        notes.append(
            f"it takes {taken.latency.value:.0%} of the time in float, hoped for {GOALS['latency']:.0%}: in float stay "
            f"{kinds}{layers}, with conversions around them"
        )
    return notes
