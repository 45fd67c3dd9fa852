"""The kinds of files that `leannet export` writes: how they end, what they need, and what is in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

__all__ = ["FORMATS", "FileFormat", "FormatFacts", "format_of"]

FileFormat: TypeAlias = Literal["onnx", "torch-export", "openvino", "executorch"]


@dataclass(frozen=True)
class FormatFacts:
    """What is known of a kind of file before anything slow is imported.

    Args:
        ending: Of the file's name.
        called: What messages call such a file.
        inside: Whether the preprocessing can be in it.
        packages: What must be importable to make one, beside torch.
        install: How they are installed.
        example: How a file, ``{path}``, is opened without leannet.
    """

    ending: str
    called: str
    inside: bool
    packages: tuple[str, ...]
    install: str
    example: str


_ONNX = ("onnx", "onnxscript", "onnxruntime")

FORMATS: dict[FileFormat, FormatFacts] = {
    "onnx": FormatFacts(
        ".onnx", "an ONNX file", True, _ONNX, "pip install 'leannet[export]'", "onnxruntime.InferenceSession({path!r})"
    ),
    "torch-export": FormatFacts(
        ".pt2", "a program of torch.export", False, (), "", "torch.export.load({path!r}).module()(images)"
    ),
    # The hint keeps CPUs that have bfloat16 from computing with it, which is less than what was proven.
    "openvino": FormatFacts(
        ".xml",
        "an OpenVINO file",
        True,
        (*_ONNX, "openvino"),
        "pip install 'leannet[export,openvino]'",
        'openvino.compile_model({path!r}, "CPU", {{"INFERENCE_PRECISION_HINT": "f32"}})(images)',
    ),
    "executorch": FormatFacts(
        ".pte",
        "a program of ExecuTorch",
        False,
        ("executorch",),
        "pip install 'leannet[executorch]'",
        'executorch.runtime.Runtime.get().load_program({path!r}).load_method("forward").execute([images])',
    ),
}


def format_of(path: Path) -> FileFormat | None:
    """Return the kind of file whose ending this is, None if it is that of none."""
    return next((name for name, facts in FORMATS.items() if facts.ending == path.suffix.lower()), None)
