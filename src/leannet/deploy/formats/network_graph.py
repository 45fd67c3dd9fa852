"""The network of an exported file: its answers as an ONNX graph, or as a program of torch.export."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from leannet.measure import evaluation_mode
from leannet_runtime import UserError

__all__ = ["AnsweringNetwork", "network_graph", "network_program"]

OUTPUTS = ("logits", "probabilities")

# With a single example image the exporters would take the number of images for a constant.
_EXAMPLES = 2


class AnsweringNetwork(nn.Module):
    """What an exported file computes from normalised images.

    A network with exits answers at its last one. Images that leave earlier, by a policy, would be let out here, and
    the exit they took be a third output.

    Args:
        network: In whatever mode; it is run for evaluation. One with Duplicate Max-pooling stays as it was trained: in
            ONNX Runtime that form is faster than those of `leannet.fuse`.

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
    with evaluation_mode(network), _quiet(), _refused(name, "ONNX", "Try --format torch-export"):
        program = torch.onnx.export(
            AnsweringNetwork(network),
            (torch.zeros(_EXAMPLES, 3, img_size, img_size),),
            dynamo=True,
            opset_version=opset,
            input_names=[input_name],
            output_names=list(OUTPUTS),
            dynamic_shapes=_any_number(),
            external_data=False,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    _remove_traces(model)
    return model


def network_program(network: nn.Module, img_size: int, name: str) -> torch.export.ExportedProgram:
    """Make the program of a network for any number of images; arguments and errors as for `network_graph`."""
    with evaluation_mode(network), _quiet(), _refused(name, "torch.export", "Try --format onnx"):
        example = (torch.zeros(_EXAMPLES, 3, img_size, img_size),)
        return torch.export.export(AnsweringNetwork(network), example, dynamic_shapes=_any_number())


def _any_number() -> Any:
    return ({0: torch.export.Dim("batch")},)


def _remove_traces(model: Any) -> None:
    """Remove what the exporter notes down of the source code: it names folders of this machine."""
    for message in (model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        message.ClearField("doc_string")
        message.ClearField("metadata_props")
    for value in (*model.graph.input, *model.graph.output):
        value.ClearField("metadata_props")
    del model.metadata_props[:]


@contextmanager
def _quiet() -> Iterator[None]:
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
def _refused(name: str, form: str, remedy: str) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError, TypeError, NotImplementedError, AssertionError) as error:
        cause: BaseException = error
        while cause.__cause__ is not None:  # the exporter wraps what went wrong, with pages of advice
            cause = cause.__cause__
        why = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
        raise UserError(f"cannot export {name} as {form}", why, remedy) from error
