"""Other words for the same ONNX graph, with which ONNX Runtime reorders memory less around squeeze-and-excitation.

Its convolutions have a layout of their own, blocks of channels, and few other operators know it: a mean over height
and width does only as GlobalAveragePool, and a product only of maps of equal shape. So here the mean is written as
such, and the gates, one number for each channel, are enlarged to whole maps before they are multiplied.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["fewer_reorders"]


def fewer_reorders(content: bytes) -> bytes:
    """Rewrite means and gates of an exported network.

    Args:
        content: Of an ONNX file whose number of images is open, and its sizes are not.
    """
    model = onnx.load_from_string(content)
    graph = model.graph
    _write_means_as_pools({each.name: each for each in graph.initializer}, graph)
    shapes = _shapes(model)
    nodes, images = list(graph.node), graph.input[0].type.tensor_type.shape.dim[0].dim_param
    del graph.node[:]
    for node in nodes:
        maps, gates = (shapes.get(name, []) for name in (*node.input, "", "")[:2])
        if node.op_type == "Mul" and len(maps) == len(gates) == 4 and maps[2:] != gates[2:] == [1, 1]:
            enlarged, scale = f"{node.input[1]}_enlarged", f"{node.input[1]}_scale"
            graph.initializer.append(numpy_helper.from_array(np.array([1, 1, *maps[2:]], np.float32), scale))
            resize = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
            graph.node.append(helper.make_node("Resize", [node.input[1], "", scale], [enlarged], **resize))
            # Without the declared shape, ONNX Runtime would not see that the two maps have the same.
            shape = [images, *maps[1:]]
            graph.value_info.append(helper.make_tensor_value_info(enlarged, TensorProto.FLOAT, shape))
            node.input[1] = enlarged
        graph.node.append(node)
    onnx.checker.check_model(model, full_check=True)
    rewritten: bytes = model.SerializeToString()
    return rewritten


def _write_means_as_pools(constants: dict[str, onnx.TensorProto], graph: onnx.GraphProto) -> None:
    for node in graph.node:
        if node.op_type != "ReduceMean" or node.input[1] not in constants:
            continue
        axes = sorted(int(axis) % 4 for axis in numpy_helper.to_array(constants[node.input[1]]))
        kept = all(attribute.i for attribute in node.attribute if attribute.name == "keepdims")
        if axes == [2, 3] and kept:
            node.op_type = "GlobalAveragePool"
            del node.input[1:], node.attribute[:]


def _shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    return {each.name: [dim.dim_value for dim in each.type.tensor_type.shape.dim] for each in values}
