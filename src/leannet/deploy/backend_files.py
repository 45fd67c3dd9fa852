"""Networks as files, for the runtimes in which they are timed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from leannet.deploy.export import DEFAULT_OPSET
from leannet.deploy.formats.network_graph import form_for, in_form, module_graph, network_program
from leannet_runtime import UserError
from leannet_runtime.formats import FileFormat

__all__ = ["Exports"]


@dataclass
class Exports:
    """Networks as files, made once for each shape of an image; the batch size is left open.

    Args:
        as_they_are: Keep the form that networks have, whichever is fastest in a kind of file.
    """

    as_they_are: bool = False
    files: dict[tuple[Any, ...], tuple[nn.Module, bytes]] = field(default_factory=dict)

    def file_of(self, model: nn.Module, images: Tensor, file_format: FileFormat = "onnx") -> bytes:
        """Return the content of the file.

        Args:
            model: On the CPU, float32, in evaluation mode.
            images: ``(N, C, H, W)``.
            file_format: "onnx"; "openvino" for ONNX in the form that is fastest there (see
                `leannet.deploy.formats.network_graph.form_for`); "executorch".
        """
        shape, compiled = tuple(images.shape[1:]), file_format == "executorch"
        form = None if self.as_they_are else form_for(file_format, model)
        key = id(model), shape, form, len(images) if compiled else None
        if key not in self.files:
            own = model if self.as_they_are else in_form(model, file_format)
            try:
                content = _compile(own, images) if compiled else _export(own, shape)
            except UserError as error:  # its remedy is one for exports
                raise RuntimeError(f"{error.what}: {error.why}") from error
            self.files[key] = model, content  # holding the network keeps its id
        return self.files[key][1]


def _compile(model: nn.Module, images: Tensor) -> bytes:
    """Compile the program that `leannet export` compiles, for batches as large as this one at least."""
    from leannet.deploy.formats.executorch_file import MOST_IMAGES, compile_program  # needs its package

    most = max(MOST_IMAGES, len(images))
    return compile_program(network_program(model, images.shape[-1], "the network", most), "the network")


def _export(model: nn.Module, shape: tuple[int, ...]) -> bytes:
    """Make the graph that `leannet export` makes, without probabilities."""
    graph = module_graph(model, (torch.zeros(2, *shape),), DEFAULT_OPSET, ["image"], ["logits"], "the network")
    content: bytes = graph.SerializeToString()
    return content
