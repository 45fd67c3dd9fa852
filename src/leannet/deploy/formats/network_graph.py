"""The network of an exported file: its answers as an ONNX graph, or as a program of torch.export."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from leannet.blocks import Duplicate
from leannet.measure import evaluation_mode
from leannet.models import FusedForm, fuse
from leannet_runtime import UserError
from leannet_runtime.formats import FileFormat

__all__ = [
    "EXAMPLES",
    "OUTPUTS",
    "AnsweringNetwork",
    "form_for",
    "in_form",
    "module_graph",
    "network_graph",
    "network_program",
    "quiet",
    "refused",
]

OUTPUTS = ("logits", "probabilities")

# In ONNX Runtime no form of Duplicate Max-pooling is faster than as it was trained (`benchmarks/latency.py`).
_FORMS: dict[FileFormat, FusedForm] = {"openvino": "planes", "executorch": "branches"}

# With a single example image the exporters would take the number of images for a constant.
EXAMPLES = 2


class AnsweringNetwork(nn.Module):
    """What an exported file computes from normalised images.

    A network with exits answers at its last one; `leannet.deploy.formats.exits_graph` lets images leave before.

    Args:
        network: In whatever mode; it is run for evaluation.

    Shape: ``(N, 3, S, S)`` -> logits and probabilities, each ``(N, num_classes)``.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.eval()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and probabilities."""
        logits = self.network(image)
        return logits, logits.softmax(dim=1)


def form_for(file_format: FileFormat, network: nn.Module) -> FusedForm | None:
    """Return the form of `leannet.fuse` that is fast in a kind of file, None for the network as it was trained."""
    duplicates = any(isinstance(module, Duplicate) for module in network.modules())
    return _FORMS.get(file_format) if duplicates else None


def in_form(network: nn.Module, file_format: FileFormat) -> nn.Module:
    """Return a copy of the network in the form that is fast in a kind of file, or itself; see `form_for`."""
    form = form_for(file_format, network)
    if form is None:
        return network
    own = copy.deepcopy(network)
    fuse(own, form)
    return own


def network_graph(network: nn.Module, img_size: int, opset: int, input_name: str, name: str) -> Any:
    """Make the ONNX graph of a network, with its weights, for any number of images.

    The exporter folds batch norm into the convolution before it; one that follows a sum stays, as in EMGNet.

    Args:
        network: On the CPU; it is left in the mode in which it was.
        img_size: Side of the images in pixels.
        opset: Version of ONNX's operators.
        input_name: Name of the input, float32 ``(batch, 3, img_size, img_size)``.
        name: What errors call the network.

    Returns:
        An `onnx.ModelProto` with the outputs "logits" and "probabilities", without traces of the source code.

    Raises:
        UserError: PyTorch cannot export this network.
    """
    with evaluation_mode(network):
        images = torch.zeros(EXAMPLES, 3, img_size, img_size)
        return module_graph(AnsweringNetwork(network), (images,), opset, [input_name], OUTPUTS, name)


def module_graph(
    module: nn.Module,
    examples: tuple[Tensor, ...],
    opset: int,
    input_names: Sequence[str],
    output_names: Sequence[str],
    name: str,
) -> Any:
    """Make the ONNX graph of any module in evaluation mode, for any number of rows of its inputs.

    Args:
        module: On the CPU.
        examples: Inputs, of at least two rows each: of a single one the exporter would take the number for a constant.
        opset: Version of ONNX's operators.
        input_names: What the inputs are called.
        output_names: What the outputs are called.
        name: What errors call the network.

    Raises:
        UserError: PyTorch cannot export it.
    """
    with quiet(), refused(name, "ONNX", "Try --format torch-export"):
        program = torch.onnx.export(
            module,
            examples,
            dynamo=True,
            opset_version=opset,
            input_names=list(input_names),
            output_names=list(output_names),
            dynamic_shapes=_any_number(module, examples),
            external_data=False,
            verbose=False,
        )
        assert program is not None
        model = program.model_proto
        # Where it finds no way for any number of rows, the exporter takes that of the examples without a word.
        if not all(each.type.tensor_type.shape.dim[0].dim_param for each in model.graph.input):
            raise ValueError("its code fixes the number of images")
    _remove_traces(model)
    return model


def network_program(
    network: nn.Module, img_size: int, name: str, most: int | None = None
) -> torch.export.ExportedProgram:
    """Make the program of a network for any number of images, or up to `most`; else as `network_graph`."""
    with evaluation_mode(network), quiet(), refused(name, "torch.export", "Try --format onnx"):
        module, example = AnsweringNetwork(network), (torch.zeros(EXAMPLES, 3, img_size, img_size),)
        return torch.export.export(module, example, dynamic_shapes=_any_number(module, example, most))


def _any_number(module: nn.Module, examples: tuple[Tensor, ...], most: int | None = None) -> Any:
    batch, shapes = torch.export.Dim("batch", max=most), torch.export.ShapesCollection()
    for example in examples:
        shapes[example] = {0: batch}
    return shapes.dynamic_shapes(module, examples)


def _remove_traces(model: Any) -> None:
    """Remove what the exporter notes down of the source code: it names folders of this machine."""
    for message in (model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        message.ClearField("doc_string")
        message.ClearField("metadata_props")
    for value in (*model.graph.input, *model.graph.output):
        value.ClearField("metadata_props")
    del model.metadata_props[:]


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporters' remarks to their developers from the user."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def refused(name: str, form: str, remedy: str) -> Iterator[None]:
    """Turn what an exporter raises into a `UserError` that names the network, the form and what to try."""
    try:
        yield
    except (RuntimeError, ValueError, TypeError, NotImplementedError, AssertionError) as error:
        cause: BaseException = error
        while cause.__cause__ is not None:  # the exporter wraps what went wrong, with pages of advice
            cause = cause.__cause__
        why = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
        raise UserError(f"cannot export {name} as {form}", why, remedy) from error
