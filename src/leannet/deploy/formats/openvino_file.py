"""The OpenVINO file: preprocessing and network as a graph in FILE.xml, with its weights in FILE.bin."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import opset13

from leannet.deploy.formats.network_graph import in_form
from leannet.deploy.formats.onnx_file import NORMALISED, onnx_model
from leannet.deploy.formats.openvino_core import openvino_core
from leannet.deploy.formats.preprocessing_graph import LEAST_OPSET
from leannet.deploy.metadata import describe, metadata_props
from leannet.deploy.proof import Proof, check_finished, prove
from leannet.deploy.proof_images import ProofImages
from leannet.training import SavedNetwork
from leannet_runtime import UserError

__all__ = ["openvino_model", "proven_openvino"]

# In bfloat16, which some CPUs take without being asked, the file would answer otherwise than the network.
_COMPILED = {"INFERENCE_PRECISION_HINT": "f32"}

_PILLOW = {"linear": "bilinear_pillow", "linear_onnx": "bilinear_pillow", "cubic": "bicubic_pillow"}


def openvino_model(network: SavedNetwork, preprocess: str) -> openvino.Model:
    """Make the whole graph, without metadata, out of that of the ONNX file.

    Args:
        network: What is exported; one with exits answers at its last one.
        preprocess: "inside" or "outside".

    Raises:
        UserError: The network or its preprocessing cannot be exported.
    """
    if preprocess == "inside" and network.preprocessing.interpolation == "nearest":
        why = "OpenVINO computes in float32 which pixel is the nearest, pillow in double precision"
        raise UserError("cannot put the preprocessing into the file", why, "Pass --preprocess outside")
    fastest = replace(network, model=in_form(network.model, "openvino"))
    graph = onnx_model(fastest, LEAST_OPSET, preprocess)
    model = openvino_core().read_model(io.BytesIO(graph.SerializeToString()))
    _resize_as_pillow(model)
    return model


def proven_openvino(
    model: openvino.Model, network: SavedNetwork, preprocess: str, chosen: ProofImages
) -> tuple[tuple[bytes, bytes], Proof, dict[str, Any]]:
    """Prove a graph as it is read back from its two files, and return their contents, the proof and the metadata.

    Args:
        model: See `openvino_model`. The metadata is written into it.
        network: What it was made from.
        preprocess: "inside" or "outside".
        chosen: On what it is proven.

    Returns:
        The contents of FILE.xml and FILE.bin, the proof, and what the file says of itself.

    Raises:
        ProofFailed: It does not answer as the network does.
    """
    read = openvino_core().read_model(*_contents(model))
    answer, prepare = _runner(read), None
    if preprocess == "inside":
        first = _runner(_first_nodes(read))

        def prepare(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
            return first(batch)[0]

    runtime = f"openvino {openvino.__version__.partition('-')[0]}"
    proof = prove(answer, network.model, network.preprocessing, chosen, runtime, prepare)
    description = describe(network, preprocess, proof.record())
    for name, text in metadata_props(description).items():
        model.set_rt_info(text, [name])
    xml, weights = _contents(model)
    finished = _runner(openvino_core().read_model(xml, weights))
    check_finished(finished, answer, chosen.images[0], network.preprocessing, inside=preprocess == "inside")
    return (xml, weights), proof, description


def _resize_as_pillow(model: openvino.Model) -> None:
    """Put OpenVINO's emulation of pillow in the place of each Resize of the preprocessing.

    What OpenVINO makes of ONNX's Resize does not smooth while it shrinks, and bicubic runs over the ends of 8 bits.
    """
    rows_and_columns = np.array([1, 2])
    for resize in model.get_ordered_ops():
        if resize.get_type_name() != "Interpolate":
            continue
        image, sizes = (resize.input(place).get_source_output() for place in (0, 1))
        mode = _PILLOW.get(resize.get_attributes()["mode"])
        if mode is None or image.get_element_type() != openvino.Type.u8:
            continue  # one of the network's own
        by_pillow = opset13.interpolate(
            image,
            opset13.gather(sizes, rows_and_columns, np.int64(0)),
            mode,
            "sizes",
            pads_begin=[0, 0, 0, 0],
            pads_end=[0, 0, 0, 0],
            cube_coeff=-0.5,
            axes=rows_and_columns,
        )
        for reader in resize.output(0).get_target_inputs():
            reader.replace_source_output(by_pillow.output(0))
    model.validate_nodes_and_infer_types()


def _first_nodes(model: openvino.Model) -> openvino.Model:
    """Return the part of the graph that prepares images."""
    copy = model.clone()
    outputs = (output for operation in copy.get_ordered_ops() for output in operation.outputs())
    prepared = next(output for output in outputs if NORMALISED in output.get_names())
    return openvino.Model([opset13.result(prepared)], copy.get_parameters(), "preprocessing")


def _runner(model: openvino.Model) -> Callable[[NDArray[Any]], tuple[NDArray[np.float32], ...]]:
    compiled = openvino_core().compile_model(model, "CPU", _COMPILED)

    def run(batch: NDArray[Any]) -> tuple[NDArray[np.float32], ...]:
        found = compiled([np.ascontiguousarray(batch)])
        return tuple(np.array(found[number]) for number in range(len(compiled.outputs)))

    return run


def _contents(model: openvino.Model) -> tuple[bytes, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.xml")
        # OpenVINO would store half precision unless told.
        openvino.save_model(model, path, compress_to_fp16=False)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()
