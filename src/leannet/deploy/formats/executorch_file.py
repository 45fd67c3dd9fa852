"""The program of ExecuTorch: the network alone, compiled for XNNPACK, for CPUs of phones and boards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower
from executorch.extension.pybindings.portable_lib import _threadpool_get_thread_count, _unsafe_reset_threadpool
from executorch.runtime import Runtime
from numpy.typing import NDArray

from leannet.deploy.formats.network_graph import in_form, network_program, quiet, refused
from leannet.deploy.metadata import describe, metadata_props
from leannet.deploy.proof import Proof, check_finished, prove
from leannet.deploy.proof_images import ProofImages
from leannet.training import SavedNetwork

__all__ = ["MOST_IMAGES", "compile_program", "executorch_program", "program_runner", "proven_executorch"]

MOST_IMAGES = 8
"""In a batch: the memory of a program is laid out beforehand, and the proof needs batches of seven."""


def executorch_program(network: SavedNetwork) -> torch.export.ExportedProgram:
    """Make the program of torch.export that is compiled.

    Args:
        network: What is exported.

    Raises:
        UserError: PyTorch cannot export this network.
    """
    fastest = in_form(network.model, "executorch")
    return network_program(fastest, network.preprocessing.img_size, network.title, MOST_IMAGES)


def proven_executorch(
    program: torch.export.ExportedProgram, network: SavedNetwork, chosen: ProofImages
) -> tuple[bytes, Proof, dict[str, Any]]:
    """Compile a program, prove it, and return the content of the file, the proof and the metadata.

    Each entry of the metadata is a method of the file that takes nothing and returns its text::

        Runtime.get().load_program(path).load_method("leannet").execute([])

    Args:
        program: Takes normalised images.
        network: What it was made from.
        chosen: On what it is proven.

    Raises:
        UserError: ExecuTorch cannot compile this network.
        ProofFailed: It does not answer as the network does.
    """
    answer = program_runner(compile_program(program, network.title))
    proof = prove(answer, network.model, network.preprocessing, chosen, f"executorch {_version()}")
    description = describe(network, "outside", proof.record())
    content = compile_program(program, network.title, metadata_props(description))
    check_finished(program_runner(content), answer, chosen.images[0], network.preprocessing, inside=False)
    return content, proof, description


def compile_program(
    program: torch.export.ExportedProgram, name: str, metadata: Mapping[str, str] | None = None
) -> bytes:
    """Compile a program for XNNPACK, and return the content of the file.

    Args:
        program: Takes normalised images.
        name: What errors call the network.
        metadata: What the file says of itself.

    Raises:
        UserError: ExecuTorch cannot compile it.
    """
    with quiet(), refused(name, "ExecuTorch", "Try --format onnx"):
        methods: dict[str, Any] = dict(metadata or {})
        lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()], constant_methods=methods)
        content: bytes = lowered.to_executorch().buffer
    return content


def program_runner(
    content: bytes, threads: int | None = None
) -> Callable[[NDArray[Any]], tuple[NDArray[np.float32], ...]]:
    """Load a compiled program, and return what runs it on images.

    Args:
        content: Of the file.
        threads: Of the pool that all programs of the process share; as it is (at first all cores) if not given.
    """
    if threads not in (None, _threadpool_get_thread_count()):
        _unsafe_reset_threadpool(threads)  # unsafe only while a program runs
    program = Runtime.get().load_program(content)
    # The method reads the bytes of the program without keeping them, so `run` holds both.
    kept = program.load_method("forward"), program

    def run(batch: NDArray[Any]) -> tuple[NDArray[np.float32], ...]:
        # What it returns lies in its own memory, which the next batch takes.
        return tuple(found.numpy().copy() for found in kept[0].execute([torch.from_numpy(batch)]))

    return run


def _version() -> str:
    from importlib.metadata import version

    return version("executorch")
