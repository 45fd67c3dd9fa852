"""From a model folder to one file that is proven to answer as the network does."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from leannet.deploy.exits import exported_policy
from leannet.deploy.formats.network_graph import network_program
from leannet.deploy.formats.program_file import proven_program
from leannet.deploy.proof import Proof
from leannet.deploy.proof_images import ProofImages, choose_images
from leannet.training import SavedNetwork, load_saved_network
from leannet_runtime import UserError
from leannet_runtime.files import check_file, make_folder, write_files
from leannet_runtime.formats import FORMATS, FileFormat, FormatFacts, format_of

if TYPE_CHECKING:
    from leannet.deploy.int8.outcome import Quantised

__all__ = ["Exported", "FileFormat", "Int8", "Preprocess", "export_network"]

Preprocess: TypeAlias = Literal["inside", "outside"]

DEFAULT_OPSET = 18  # the first that can do the preprocessing; a newer one would shut out runtimes for nothing


@dataclass(frozen=True, eq=False)
class Exported:
    """A file with its proof."""

    path: Path
    network: SavedNetwork
    description: dict[str, Any]
    """What the file says of itself."""

    proof: Proof
    quantised: Quantised | None = None
    """How it was made one of 8 bits, if it was."""

    file_format: FileFormat = "onnx"


@dataclass(frozen=True)
class Int8:
    """That the file shall be one of 8 bits."""

    calibration_images: int = 256
    """From the training part; the ranges of activations come from them."""

    max_drop: float = 1.0
    """Points of top-1 accuracy that may be lost on held-out images."""


def export_network(
    folder: Path,
    path: Path,
    *,
    opset: int = DEFAULT_OPSET,
    preprocess: Preprocess = "inside",
    file_format: FileFormat = "onnx",
    check_data: str | None = None,
    check_images: int = 200,
    int8: Int8 | None = None,
    on_step: Callable[[str], None] | None = None,
) -> Exported:
    """Export a network and prove it. The file is written when it is proven; one that was there before stays till then.

    Args:
        folder: A model folder.
        path: The file to write, without the ending of another format; one for OpenVINO ends with ``.xml``, and its
            weights lie beside it with ``.bin``.
        opset: Version of ONNX's operators.
        preprocess: Whether resizing, cropping and normalising are in the file; programs of torch.export and ExecuTorch
            have them not.
        file_format: A key of `leannet_runtime.formats.FORMATS`.
        check_data: Images to compare on, see `leannet.deploy.proof_images.choose_images`.
        check_images: How many.
        int8: Given, the file has weights and activations of 8 bits.
        on_step: Told what is done now.

    Raises:
        UserError: Something given does not fit, or the file cannot be written.
        ProofFailed: The file does not answer as the network does.
        leannet.deploy.int8.outcome.DropTooLarge: 8 bits lose too much accuracy.
    """
    tell = on_step or (lambda _: None)
    content: bytes | tuple[bytes, bytes]
    facts = FORMATS[file_format]
    _check_path(path, facts)
    if int8 is not None and file_format != "onnx":
        raise UserError(f"--int8 with --format {file_format}", "only an ONNX file is quantised", "Pass --format onnx")
    _check_packages(facts)
    if file_format == "onnx":
        from leannet.deploy.formats.onnx_file import check_opset, onnx_model, proven_onnx  # needs the extra packages

        check_opset(opset)
    network = load_saved_network(folder)
    quantisation = None
    if int8 is not None:
        from leannet.deploy.int8.quantisation import Quantisation  # needs the extra packages

        quantisation = Quantisation(network, int8.calibration_images, int8.max_drop, check_data, tell)
    policy, note = exported_policy(network, None if file_format == "onnx" else f"a file of {file_format}")
    chosen = choose_images(folder, check_data, check_images)
    if note is not None:
        chosen = replace(chosen, notes=(*chosen.notes, note))
    make_folder(path.parent)
    tell(f"exporting {network.title}, which takes from seconds to minutes")
    images = f"comparing the file with the network on {len(chosen.images):,} images"
    if file_format == "onnx":
        model = onnx_model(network, opset, preprocess, quantisation, policy)
        quantised = None if quantisation is None else quantisation.result
        tell(images)
        content, proof, description = proven_onnx(model, network, preprocess, chosen, quantised, policy)
    else:
        quantised = None
        content, proof, description = _other_format(file_format, network, preprocess, chosen, lambda: tell(images))
    parts = {path: content} if isinstance(content, bytes) else _xml_and_bin(path, *content)
    write_files({part: partial(Path.write_bytes, data=data) for part, data in parts.items()})
    return Exported(path, network, description, proof, quantised, file_format)


def _other_format(
    file_format: FileFormat,
    network: SavedNetwork,
    preprocess: Preprocess,
    chosen: ProofImages,
    on_proof: Callable[[], None],
) -> tuple[bytes | tuple[bytes, bytes], Proof, dict[str, Any]]:
    """Make and prove what is no ONNX file: its content or, of OpenVINO, the contents of its two files."""
    if file_format == "openvino":
        from leannet.deploy.formats.openvino_file import openvino_model, proven_openvino  # needs the extra packages

        model = openvino_model(network, preprocess)
        on_proof()
        return proven_openvino(model, network, preprocess, chosen)
    if file_format == "executorch":
        from leannet.deploy.formats.executorch_file import executorch_program, proven_executorch  # needs its package

        program = executorch_program(network)
        on_proof()
        return proven_executorch(program, network, chosen)
    program = network_program(network.model, network.preprocessing.img_size, network.title)
    on_proof()
    return proven_program(program, network, chosen)


def _xml_and_bin(path: Path, xml: bytes, weights: bytes) -> dict[Path, bytes]:
    """Return what lies where, the file that names the network last: it counts for nothing without its weights."""
    return {path.with_suffix(".bin"): weights, path: xml}


def _check_path(path: Path, facts: FormatFacts) -> None:
    if path.is_dir():
        inside = path / f"model{facts.ending}"
        raise UserError(f"cannot write {path}", "it is a folder", f"Give a file, say {inside}")
    check_file(path)
    if facts.ending == ".xml" and path.suffix != ".xml":
        why = "OpenVINO finds the weights, FILE.bin, by the ending .xml of the other file"
        raise UserError(f"cannot write {path}", why, f"Give {path.with_suffix('.xml')}")
    other = format_of(path)
    if other is not None and FORMATS[other] is not facts:
        why = f"{path.suffix} is the ending of {FORMATS[other].called}"
        remedy = f"Pass --format {other}, or give {path.with_suffix(facts.ending)}"
        raise UserError(f"cannot write {path} as {facts.called}", why, remedy)


def _check_packages(facts: FormatFacts) -> None:
    for name in facts.packages:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise UserError("cannot export", f"{name} is not installed", facts.install) from error
