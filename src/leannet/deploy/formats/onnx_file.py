"""The ONNX file: preprocessing and network in one graph, run by ONNX Runtime for its proof."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from leannet.deploy.formats.exits_graph import EXIT_OUTPUTS, exits_graph
from leannet.deploy.formats.network_graph import OUTPUTS, network_graph
from leannet.deploy.formats.preprocessing_graph import LEAST_OPSET, preprocessing_graph
from leannet.deploy.int8.outcome import Quantised
from leannet.deploy.metadata import describe, metadata_props
from leannet.deploy.proof import BARS, INT8_BARS, Proof, check_finished, prove
from leannet.deploy.proof_images import ProofImages
from leannet.early_exit import ExitPolicy
from leannet.training import SavedNetwork
from leannet_runtime import UserError

__all__ = ["NORMALISED", "check_opset", "onnx_model", "proven_onnx"]

# What protobuf can write, less room for the metadata.
_LARGEST = 2**31 - 2**20  # bytes

NORMALISED = "normalised"


def check_opset(opset: int) -> None:
    """Make sure that there is such a version of ONNX's operators, and that all that is needed is in it.

    Raises:
        UserError: It is not.
    """
    newest = onnx.defs.onnx_opset_version()
    if not LEAST_OPSET <= opset <= newest:
        why = f"the preprocessing needs version {LEAST_OPSET} of the operators, and the installed onnx ends at {newest}"
        raise UserError(f"--opset {opset}", why, f"Leave it away for {LEAST_OPSET}, which most runtimes know")


def onnx_model(
    network: SavedNetwork,
    opset: int,
    preprocess: str,
    quantise: Callable[[onnx.ModelProto], onnx.ModelProto] | None = None,
    policy: ExitPolicy | None = None,
) -> onnx.ModelProto:
    """Make the whole graph, without metadata.

    Args:
        network: What is exported.
        opset: Version of ONNX's operators.
        preprocess: "inside" or "outside".
        quantise: Turns the network's graph into one of 8 bits; the preprocessing stays as it is.
        policy: By which images leave a network with exits early; without, it answers at the last one.

    Raises:
        UserError: The network or its preprocessing cannot be exported, or is too large for one file.
    """
    size, inside = network.preprocessing.img_size, preprocess == "inside"
    if inside:  # first, for it refuses at once what it cannot do
        before = preprocessing_graph(network.preprocessing, opset, NORMALISED)
    given, name = NORMALISED if inside else "image", network.title
    if policy is None:
        model = network_graph(network.model, size, opset, given, name)
    else:
        model = exits_graph(network.model, policy, size, opset, given, name)
    if model.ByteSize() > _LARGEST:
        why = f"its weights take {model.ByteSize() / 2**30:.1f} GiB, and an ONNX file holds 2"
        raise UserError(f"cannot export {network.title}", why, "Pass --format torch-export")
    if quantise is not None:
        model = quantise(model)
    if inside:
        before.ir_version = model.ir_version
        model = onnx.compose.merge_models(before, model, io_map=[(NORMALISED, NORMALISED)])
        del model.opset_import[1:]  # there is one of each part, and they are the same
    model.graph.name, model.producer_name = network.title, "leannet"
    onnx.checker.check_model(model, full_check=True)
    return model


def proven_onnx(
    model: onnx.ModelProto,
    network: SavedNetwork,
    preprocess: str,
    chosen: ProofImages,
    quantised: Quantised | None = None,
    policy: ExitPolicy | None = None,
) -> tuple[bytes, Proof, dict[str, Any]]:
    """Prove a graph, and return the content of the file, the proof, and what the file says of itself.

    Args:
        model: See `onnx_model`.
        network: What it was made from.
        preprocess: "inside" or "outside".
        chosen: On what it is proven.
        quantised: How it was made one of 8 bits, if it was.
        policy: By which images leave it early.

    Raises:
        ProofFailed: It does not answer as the network does.
    """
    names = OUTPUTS if policy is None else EXIT_OUTPUTS
    run = _runner(model, names)
    prepare = None
    if preprocess == "inside":
        first = _runner(_first_nodes(model), [NORMALISED])

        def prepare(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
            return first(batch)[0]

    runtime = f"onnxruntime {onnxruntime.__version__}"
    bars = BARS if quantised is None else INT8_BARS
    proof = prove(run, network.model, network.preprocessing, chosen, runtime, prepare, bars, policy)
    description = describe(network, preprocess, proof.record(), policy)
    if quantised is not None:
        description |= {"int8": quantised.record(), "accuracy": quantised.accuracy()}
    onnx.helper.set_model_props(model, metadata_props(description))
    check_finished(_runner(model, names), run, chosen.images[0], network.preprocessing, inside=preprocess == "inside")
    return model.SerializeToString(), proof, description


def _first_nodes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the part of the graph that prepares images."""
    first = onnx.ModelProto()
    first.CopyFrom(model)
    outputs = [name for node in model.graph.node for name in node.output]
    del first.graph.node[outputs.index(NORMALISED) + 1 :]
    used = {name for node in first.graph.node for name in node.input}
    kept = [weight for weight in first.graph.initializer if weight.name in used]
    del first.graph.initializer[:], first.graph.output[:], first.graph.value_info[:]
    first.graph.initializer.extend(kept)
    first.graph.output.append(onnx.helper.make_tensor_value_info(NORMALISED, onnx.TensorProto.FLOAT, [None] * 4))
    return first


def _runner(model: onnx.ModelProto, names: Sequence[str]) -> Callable[[NDArray[Any]], tuple[NDArray[Any], ...]]:
    session = _session(model)

    def run(batch: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        return tuple(session.run(names, {"image": batch}))

    return run


def _session(model: onnx.ModelProto) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised
    content = model.SerializeToString()
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no other base
        opset = next(each.version for each in model.opset_import if not each.domain)
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"onnxruntime does not take the file with --opset {opset}", why, "Pass a lower one") from error
