"""The program of torch.export: the network alone, for whoever goes on with PyTorch (ExecuTorch, AOTInductor)."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from leannet.deploy.metadata import describe, metadata_props
from leannet.deploy.proof import Proof, prove
from leannet.deploy.proof_images import ProofImages
from leannet.training import SavedNetwork

__all__ = ["proven_program"]

METADATA_FILE = "leannet.json"
"""Where the metadata lies in the archive: ``torch.export.load(path, extra_files={"leannet.json": ""})`` fills it in."""


def proven_program(
    program: torch.export.ExportedProgram, network: SavedNetwork, chosen: ProofImages
) -> tuple[bytes, Proof, dict[str, Any]]:
    """Save a program, load it again, prove it, and return the content of the file, the proof and the metadata.

    Args:
        program: Takes normalised images.
        network: What it was made from.
        chosen: On what it is proven.

    Raises:
        ProofFailed: It does not answer as the network does.
    """
    module = torch.export.load(io.BytesIO(_content(program, {}))).module()

    def run(batch: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        with torch.no_grad():
            logits, probabilities = module(torch.from_numpy(batch))
        return logits.numpy(), probabilities.numpy()

    proof = prove(run, network.model, network.preprocessing, chosen, f"torch {torch.__version__}")
    description = describe(network, "outside", proof.record())
    return _content(program, metadata_props(description)), proof, description


def _content(program: torch.export.ExportedProgram, metadata: dict[str, str]) -> bytes:
    archive = io.BytesIO()
    torch.export.save(program, archive, extra_files={METADATA_FILE: json.dumps(metadata, ensure_ascii=False)})
    return archive.getvalue()
