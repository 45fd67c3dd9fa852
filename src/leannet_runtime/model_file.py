"""An exported file: opened, checked, and what it says of itself."""

from __future__ import annotations

import hashlib
import json
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leannet_runtime.cores import usable_cores
from leannet_runtime.errors import UserError
from leannet_runtime.formats import FORMATS
from leannet_runtime.onnx_wire import NotOnnx, read_facts
from leannet_runtime.preprocessing import Preprocessing

__all__ = ["FORMAT", "METADATA_KEY", "ModelFile", "usable_threads"]

FORMAT = 1
"""The form of the metadata that this version reads and `leannet export` writes."""

METADATA_KEY = "leannet"

LARGEST = 2**31 - 1  # bytes: protobuf's own limit, and ONNX's for a file that holds its weights

# Operators that onnxruntime itself has. Those of other domains would come from a library that a file must not bring.
DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}

# Names are made for each class, and lists of that length.
MOST_CLASSES = 2**20

EXPORT_AGAIN = "Export it again: leannet export MODEL_FOLDER"


@dataclass(frozen=True, eq=False)
class ModelFile:
    """A file that `leannet export` wrote, checked, with the session that runs it.

    Args:
        path: The file.
        session: An `onnxruntime.InferenceSession` on the CPU.
        description: The JSON of the metadata: architecture, accuracy, hash of the weights and so on.
        metadata: All of the metadata, as text by name.
        label_names: By label; None if the file does not name them.
        num_classes: Number of classes.
        inside: Whether the graph takes pixels and prepares them itself; otherwise `preprocessing` does.
        preprocessing: How an image becomes the input of the network.
        has_exits: Whether images leave early, so that the graph says by which exit.
        sha256: Of the file, in hexadecimal digits.
        threads: How many run the graph.
    """

    path: Path
    session: Any
    description: dict[str, Any]
    metadata: dict[str, str]
    label_names: tuple[str, ...] | None
    num_classes: int
    inside: bool
    preprocessing: Preprocessing
    has_exits: bool
    sha256: str
    threads: int

    @classmethod
    def open(cls, path: str | Path, threads: int | None = None, *, spinning: bool = True) -> ModelFile:
        """Open a file and check all that can be checked before an image is there.

        Nothing beside the file is read, no library of operators is loaded, and torch and onnx are not needed.

        Args:
            path: The file.
            threads: How many run the graph; by default as many as there are cores that this process may use.
            spinning: Whether they watch for work between two layers, which is fastest, or leave the cores to others.

        Raises:
            UserError: There is no such file, it is no ONNX file, `leannet export` did not write it, it needs
                operators or files of others, its form is not known here, or onnxruntime is not installed.
        """
        path = Path(path)
        threads = usable_threads(threads)
        data = _read(path)
        session, metadata = _session(path, data, threads, spinning)
        description = _description(path, metadata)
        preprocessing, names = _preprocessing(path, description), description.get("label_names")
        file = cls(
            path=path,
            session=session,
            description=description,
            metadata=metadata,
            label_names=None if names is None else tuple(names),
            num_classes=description["num_classes"],
            inside=description["preprocess"] == "inside",
            preprocessing=preprocessing,
            has_exits=description.get("early_exit") is not None,
            sha256=hashlib.sha256(data).hexdigest(),
            threads=threads,
        )
        file._check_graph()
        return file

    def _check_graph(self) -> None:
        """Compare inputs and outputs of the graph with what the metadata promises."""
        size = self.preprocessing.img_size
        wanted = (None, None, None, 3) if self.inside else (None, 3, size, size)
        kind = "tensor(uint8)" if self.inside else "tensor(float)"
        inputs = self.session.get_inputs()
        if [each.name for each in inputs] != ["image"] or not _fits(inputs[0], kind, wanted):
            layout = "uint8 pixels (N, H, W, 3)" if self.inside else f"float32 (N, 3, {size}, {size})"
            found = ", ".join(f"{each.name} {each.type} {each.shape}" for each in inputs) or "nothing"
            raise _unusable(self.path, f"its input is {found}, not image with {layout}, of any number N of images")
        outputs = {each.name: each for each in self.session.get_outputs()}
        answer = ("tensor(float)", (None, self.num_classes))
        promised: dict[str, tuple[str, tuple[int | None, ...]]] = {"logits": answer, "probabilities": answer}
        if self.has_exits:
            promised["exit"] = ("tensor(int64)", (None,))
        for name, (kind, shape) in promised.items():
            if name not in outputs:
                raise _unusable(self.path, f"it has no output {name}")
            if not _fits(outputs[name], kind, shape):
                found = f"{outputs[name].type} {outputs[name].shape}"
                raise _unusable(self.path, f"its output {name} is {found}, for {self.num_classes} classes")


def usable_threads(threads: int | None) -> int:
    """Return how many threads to use: what is asked for, or one for each core that this process may use.

    Raises:
        UserError: Fewer than one is asked for.
    """
    if threads is None:
        return usable_cores()
    if threads < 1:
        raise UserError(f"{threads} threads", "nothing runs without one", "Pass 1 or more")
    return threads


def _unusable(path: Path, why: str, remedy: str = EXPORT_AGAIN) -> UserError:
    return UserError(f"cannot use {path}", why, remedy)


def _read(path: Path) -> bytes:
    """Return the bytes of the file, once they are known to be a model that needs nothing else.

    The same bytes go to onnxruntime: what was checked is what runs.
    """
    remedy = "Give a file that leannet export wrote"
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise _unusable(path, "it is a folder, and what is opened here is an exported file", EXPORT_AGAIN)
        if not stat.S_ISREG(status.st_mode):
            raise _unusable(path, "it is no ordinary file", remedy)
        if status.st_size > LARGEST:
            raise _unusable(path, "it has more than 2 GiB, which ONNX files cannot have", remedy)
        data = path.read_bytes()
        facts = read_facts(data)
    except FileNotFoundError:
        raise _unusable(path, "no such file", "Check the path, or make it: leannet export MODEL_FOLDER") from None
    except OSError as error:
        raise _unusable(path, error.strerror or str(error), "Check the path") from error
    except NotOnnx as error:
        why = "the file is empty" if not data else f"not an ONNX file ({error})"
        other = next((kind for kind in FORMATS.values() if kind.ending == path.suffix != ".onnx"), None)
        if data and other is not None:
            why = f"leannet runs ONNX files, and this is {other.called}"
            remedy = f"Open it as {other.example.format(path=str(path))}, or pass --format onnx to leannet export"
        raise _unusable(path, why, remedy) from None
    foreign = sorted(facts.domains - DOMAINS)
    if foreign:
        why = (
            f"it needs operators of {', '.join(map(_short, foreign[:3]))}, and only those of onnxruntime itself are run"
        )
        raise _unusable(path, why)
    if facts.external_data:
        raise _unusable(path, "its weights lie in another file, which is not supported")
    return data


def _session(path: Path, data: bytes, threads: int, spinning: bool) -> tuple[Any, dict[str, str]]:
    """Return the session that runs the file, and its metadata."""
    try:
        import onnxruntime
    except ImportError as error:
        remedy = "python -m pip install onnxruntime"
        raise UserError(f"cannot run {path}", "onnxruntime is not installed", remedy) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    options.log_severity_level = 4  # what goes wrong is raised, and said once
    options.add_session_config_entry("session.load_model_format", "ONNX")  # never the other form, which was not checked
    try:
        # Without its second try, of which it would print a word.
        providers = ["CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(data, options, providers=providers, enable_fallback=0)
        for each in (*session.get_inputs(), *session.get_outputs()):
            _ = each.name, each.shape  # bytes that are no text are noticed only when they are asked for
        return session, dict(session.get_modelmeta().custom_metadata_map)
    except Exception as error:  # onnxruntime's errors share no other base
        why = f"onnxruntime does not take it ({_first_line(error)})"
        raise _unusable(path, why, f"{EXPORT_AGAIN}, or update onnxruntime") from error


def _description(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    """Return the JSON of the metadata, with the fields checked that are needed to run the file."""
    if METADATA_KEY not in metadata:
        why = "it does not say how images are prepared and what its classes are: leannet export did not write it"
        raise _unusable(path, why, "Export the network with leannet: leannet export MODEL_FOLDER")
    try:
        found = json.loads(metadata[METADATA_KEY])
    except (ValueError, RecursionError) as error:
        raise _unusable(path, f"its metadata is no JSON ({_first_line(error)})") from error
    if not isinstance(found, dict):
        raise _unusable(path, "its metadata is no JSON object")
    if found.get("format") != FORMAT or isinstance(found["format"], bool):
        why = f"its metadata has format {_short(found.get('format'))}, and this version reads {FORMAT}"
        raise _unusable(path, why, "Update leannet, or export the network again with this version")
    classes, names = found.get("num_classes"), found.get("label_names")
    if not isinstance(classes, int) or isinstance(classes, bool) or not 1 <= classes <= MOST_CLASSES:
        raise _unusable(path, f"its metadata has {_short(classes)} as num_classes")
    if names is not None:
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise _unusable(path, "label_names in its metadata is no list of names")
        if len(names) != classes:
            raise _unusable(path, f"it names {len(names)} classes, and the network answers {classes}")
    if found.get("preprocess") not in ("inside", "outside"):
        raise _unusable(
            path, f"its metadata has {_short(found.get('preprocess'))} as preprocess, not inside or outside"
        )
    return found


def _preprocessing(path: Path, description: dict[str, Any]) -> Preprocessing:
    try:
        return Preprocessing.from_pretrained_cfg(description["preprocessing"])
    except UserError as error:
        raise _unusable(path, f"preprocessing in its metadata: {error.what}: {error.why}") from error
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise _unusable(path, f"preprocessing in its metadata is not timm's ({_first_line(error)})") from error


def _fits(found: Any, kind: str, shape: tuple[int | None, ...]) -> bool:
    """Say whether an input or output has this type and shape; None is a size that must not be fixed.

    A graph need not state the sizes of its outputs: what it answers is checked again when it has run.
    """
    if found.type != kind or len(found.shape) != len(shape):
        return False
    pairs = zip(found.shape, shape, strict=True)
    return all(not isinstance(size, int) or size == wanted for size, wanted in pairs)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _short(value: object) -> str:
    """Return what a message says of a value, which may be of any length."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
