"""What is tried, from the smallest and fastest to what keeps most of the network in float; and what is hoped for."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

__all__ = ["GATES", "GOALS", "LADDER", "LEAST_AGREEMENT", "OPERATORS", "WEIGHTED", "Ranges", "Rung"]

Ranges: TypeAlias = Literal["minmax", "percentile"]


class Rung(NamedTuple):
    """One way to quantise a network."""

    name: str
    per_channel: bool = True
    """Whether each output channel of a weight has a scale of its own."""

    gates: bool = True
    """Whether `GATES` are quantised too."""

    ranges: Ranges = "minmax"
    """How the range of an activation is read off the calibration images: all values, or all but the outermost."""

    float_share: float = 0.0
    """Share of the layers with weights that stay in float, those that disturb the logits most."""


LADDER = (
    Rung("per tensor", per_channel=False),
    Rung("per channel"),
    Rung("per channel, SiLU and gates in float", gates=False),
    Rung("per channel, ranges without outliers", ranges="percentile"),
    Rung("per channel, worst 10 % of layers in float", float_share=0.1),
    Rung("per channel, worst 30 % of layers in float", float_share=0.3),
)

GOALS = {"size": 0.30, "latency": 0.70}
"""What 8 bits should bring, as shares of the float file: reported, never enforced."""

LEAST_AGREEMENT = 90.0
"""Percent of the held-out images whose best class must stay, whatever that does to the accuracy: a weak network that
answers at random loses nothing by answering something else.
"""

WEIGHTED = ("Conv", "Gemm", "MatMul")
"""Operators that have weights, and with them nearly all of the arithmetic."""

OPERATORS = (
    *WEIGHTED,
    "Add", "AveragePool", "Clip", "Concat", "Flatten", "GlobalAveragePool", "MaxPool", "Relu", "Reshape", "Slice",
    "Split", "Squeeze", "Transpose", "Unsqueeze",
)  # fmt: skip
"""What is quantised. ONNX Runtime computes in 8 bits where inputs and outputs of an operator are quantised: so what
lies between two convolutions should be. Softmax and means stay in float.
"""

GATES = ("Mul", "Sigmoid")
"""What SiLU and squeeze-and-excitation are made of. In 8 bits they are faster, for nothing is converted around them;
but a step of 1/255 of their range is coarse where they are steep or are multiplied with everything.
"""
