"""The first nodes of an exported file: from pixels of any size to the input of the network, as pillow resizes them."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from leannet_runtime import Preprocessing, UserError
from leannet_runtime.preprocessing import LONGEST

__all__ = ["LEAST_OPSET", "preprocessing_graph", "tall_first"]

LEAST_OPSET = 18
"""The first in which Resize can smooth while it shrinks (``antialias``), as pillow does."""

_IR_VERSION = 10  # of the file format: that of PyTorch's exporter, which all runtimes with these operators read

_MODES = {"bilinear": "linear", "bicubic": "cubic"}


def preprocessing_graph(preprocessing: Preprocessing, opset: int, output: str = "normalised") -> onnx.ModelProto:
    """Make the graph that does what `Preprocessing.pixels` and `Preprocessing.normalise` do.

    In ONNX Runtime a pixel differs from pillow's by one level of 255 now and then: both resize horizontally and
    vertically one after the other, with weights of 22 bits, and round to 8 bits in between. In noise of black and white
    pixels a few of a million differ by two levels with bicubic. "nearest" gives pillow's pixels exactly.

    Of pictures with one side more than 16 times the other, the middle, 16 times as long as wide, is cut out first, so
    that no picture can fill the memory; there the square may lie half a pixel beside that of `Preprocessing`.

    Args:
        preprocessing: What is done.
        opset: Version of ONNX's operators, at least `LEAST_OPSET`.
        output: Name of the output.

    Returns:
        A model: ``image`` uint8 ``(batch, height, width, 3)`` -> float32 ``(batch, 3, S, S)``.

    Raises:
        UserError: ONNX has no such filter (lanczos).
    """
    if preprocessing.interpolation not in (*_MODES, "nearest"):
        why = f"ONNX resizes by {', '.join(_MODES)} or nearest, not by {preprocessing.interpolation}"
        raise UserError("cannot put the preprocessing into the file", why, "Pass --preprocess outside")
    graph = _Nodes()
    side = preprocessing.img_size
    image, count, height, width = _middle_of_long_pictures(graph)
    short = graph.integers(math.floor(side / preprocessing.crop_pct))
    shorter = graph("Min", height, width)
    # Whole numbers are divided without rest, as Preprocessing cuts off what lies behind the point.
    high = graph("Div", graph("Mul", short, height), shorter)
    wide = graph("Div", graph("Mul", short, width), shorter)
    if preprocessing.interpolation == "nearest":
        image = _nearest(graph, _nearest(graph, image, height, high, axis=1), width, wide, axis=2)
    else:
        sizes = (count, height, width, high, wide)
        image = _two_passes(graph, image, sizes, _MODES[preprocessing.interpolation])
    top, left = (_centre(graph, size, side) for size in (high, wide))
    square = _cut(graph, image, (top, left), tuple(graph("Add", each, graph.integers(side)) for each in (top, left)))
    _normalise(graph, square, preprocessing, output)
    return helper.make_model(
        helper.make_graph(
            graph.nodes,
            "preprocessing",
            [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", "height", "width", 3])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", 3, side, side])],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=_IR_VERSION,
    )


@functools.cache
def tall_first() -> bool:
    """Say whether the pillow of this machine resizes tall pictures vertically first.

    Pillow 11 resizes all pictures horizontally first; pillow 13 begins with the pass that saves more pixels. Where
    bicubic overshoots and is clipped in between, that changes the result.
    """
    size, between, wanted = (25, 125), (25, 20), (4, 20)
    noise = np.random.default_rng(0).integers(0, 2, (*size[::-1], 3), dtype=np.uint8) * 255
    picture = Image.fromarray(noise)
    bicubic = Image.Resampling.BICUBIC
    once, twice = picture.resize(wanted, bicubic), picture.resize(between, bicubic).resize(wanted, bicubic)
    return once.tobytes() == twice.tobytes()


class _Nodes:
    """Nodes of a graph, which get their names as they are made."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def __call__(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        name = output or f"preprocess_{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=f"node_{name}", **attributes))
        return name

    def constant(self, value: Any) -> str:
        """Add a constant."""
        name = f"preprocess_constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def integers(self, *values: int) -> str:
        """Add a vector of int64."""
        return self.constant(np.array(values, np.int64))


def _middle_of_long_pictures(graph: _Nodes) -> tuple[str, str, str, str]:
    """Cut what is too long, and return the image with its number, height and width as vectors of one int64."""
    count, height, width = (graph("Shape", "image", start=axis, end=axis + 1) for axis in range(3))
    starts, lengths = [], []
    for length, other in ((height, width), (width, height)):
        most = graph("Mul", other, graph.integers(LONGEST))
        # An odd length stays odd, and an even one even: so the middle stays where it is.
        most = graph("Add", most, graph("Mod", length, graph.integers(2)))
        kept = graph("Min", length, most)
        starts.append(graph("Div", graph("Sub", length, kept), graph.integers(2)))
        lengths.append(kept)
    ends = tuple(graph("Add", start, length) for start, length in zip(starts, lengths, strict=True))
    return _cut(graph, "image", starts, ends), count, lengths[0], lengths[1]


def _cut(graph: _Nodes, image: str, starts: Sequence[str], ends: Sequence[str]) -> str:
    """Cut out rows and columns."""
    corners = [graph("Concat", *each, axis=0) for each in (starts, ends)]
    return graph("Slice", image, *corners, graph.integers(1, 2))


def _two_passes(graph: _Nodes, image: str, sizes: tuple[str, str, str, str, str], mode: str) -> str:
    """Resize along one axis, then along the other, each time to 8 bits; a pass that changes no size does nothing."""
    count, height, width, high, wide = sizes
    colours = graph.integers(3)
    first = graph("Concat", count, height, wide, colours, axis=0)
    if tall_first():
        saved = graph("Sub", height, high)
        twice = graph("Mul", graph("Sub", width, wide), graph.integers(2))
        begins = graph("And", graph("Greater", saved, twice), graph("Less", high, height))
        first = graph("Where", begins, graph("Concat", count, high, width, colours, axis=0), first)
    for size in (first, graph("Concat", count, high, wide, colours, axis=0)):
        image = graph(
            "Resize", image, "", "", size,
            mode=mode, antialias=1, coordinate_transformation_mode="half_pixel", cubic_coeff_a=-0.5, exclude_outside=1,
        )  # fmt: skip
    return image


def _nearest(graph: _Nodes, image: str, old: str, new: str, axis: int) -> str:
    """Take the nearest rows or columns, at the places that pillow adds up in double precision."""
    step = graph("Div", *(graph("Cast", size, to=TensorProto.DOUBLE) for size in (old, new)))
    half = graph("Mul", step, graph.constant(np.array([0.5])))
    steps = graph("Expand", step, graph("Sub", new, graph.integers(1)))
    places = graph("CumSum", graph("Concat", half, steps, axis=0), graph.constant(np.int64(0)))
    return graph("Gather", image, graph("Cast", places, to=TensorProto.INT64), axis=axis)


def _centre(graph: _Nodes, size: str, side: int) -> str:
    """Return where the middle begins; half a pixel is rounded to the even side, by ONNX as by Python."""
    rest = graph("Cast", graph("Sub", size, graph.integers(side)), to=TensorProto.DOUBLE)
    return graph("Cast", graph("Round", graph("Mul", rest, graph.constant(np.array([0.5])))), to=TensorProto.INT64)


def _normalise(graph: _Nodes, square: str, preprocessing: Preprocessing, output: str) -> None:
    """Do the arithmetic of `Preprocessing.normalise`, with the same constants."""
    scale = 1 / (255 * np.array(preprocessing.std))
    shift = -np.array(preprocessing.mean) / np.array(preprocessing.std)
    planes = graph("Cast", graph("Transpose", square, perm=[0, 3, 1, 2]), to=TensorProto.FLOAT)
    factor, offset = (graph.constant(each.astype(np.float32).reshape(3, 1, 1)) for each in (scale, shift))
    graph("Add", graph("Mul", planes, factor), offset, output=output)
