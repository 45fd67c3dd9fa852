"""From a model folder to one file that is proven to answer as the network does."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from leannet.deploy.formats.network_graph import network_program
from leannet.deploy.formats.program_file import proven_program
from leannet.deploy.proof import Proof
from leannet.deploy.proof_images import choose_images
from leannet.training import SavedNetwork, load_saved_network
from leannet_runtime import UserError
from leannet_runtime.files import make_folder, write_file

__all__ = ["ENDINGS", "Exported", "FileFormat", "Preprocess", "export_network"]

FileFormat: TypeAlias = Literal["onnx", "torch-export"]
Preprocess: TypeAlias = Literal["inside", "outside"]

ENDINGS: dict[FileFormat, str] = {"onnx": ".onnx", "torch-export": ".pt2"}

DEFAULT_OPSET = 18  # the first that can do the preprocessing; a newer one would shut out runtimes for nothing

_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True, eq=False)
class Exported:
    """A file with its proof."""

    path: Path
    network: SavedNetwork
    description: dict[str, Any]
    """What the file says of itself."""

    proof: Proof


def export_network(
    folder: Path,
    path: Path,
    *,
    opset: int = DEFAULT_OPSET,
    preprocess: Preprocess = "inside",
    file_format: FileFormat = "onnx",
    check_data: str | None = None,
    check_images: int = 200,
    on_step: Callable[[str], None] | None = None,
) -> Exported:
    """Export a network and prove it. The file is written when it is proven; one that was there before stays till then.

    Args:
        folder: A model folder.
        path: The file to write.
        opset: Version of ONNX's operators.
        preprocess: Whether resizing, cropping and normalising are in the file; a program of torch.export has them not.
        file_format: "onnx", or "torch-export" for a ``.pt2`` program.
        check_data: Images to compare on, see `leannet.deploy.proof_images.choose_images`.
        check_images: How many.
        on_step: Told what is done now.

    Raises:
        UserError: Something given does not fit, or the file cannot be written.
        ProofFailed: The file does not answer as the network does.
    """
    tell = on_step or (lambda _: None)
    if path.is_dir():
        inside = path / f"model{ENDINGS[file_format]}"
        raise UserError(f"cannot write {path}", "it is a folder", f"Give a file, say {inside}")
    if file_format == "onnx":
        _check_packages()
        from leannet.deploy.formats.onnx_file import check_opset, onnx_model, proven_onnx  # needs the extra packages

        check_opset(opset)
    network = load_saved_network(folder)
    chosen = choose_images(folder, check_data, check_images)
    make_folder(path.parent)
    tell(f"exporting {network.architecture}, which takes from seconds to minutes")
    images = f"comparing the file with the network on {len(chosen.images):,} images"
    if file_format == "onnx":
        model = onnx_model(network, opset, preprocess)
        # Weights of 8 bits would take the place of these here, to be proven too.
        tell(images)
        content, proof, description = proven_onnx(model, network, preprocess, chosen)
    else:
        program = network_program(network.model, network.preprocessing.img_size, network.architecture)
        tell(images)
        content, proof, description = proven_program(program, network, chosen)
    write_file(path, lambda temporary: temporary.write_bytes(content))
    return Exported(path, network, description, proof)


def _check_packages() -> None:
    for name in _PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise UserError("cannot export", f"{name} is not installed", "pip install 'leannet[export]'") from error
