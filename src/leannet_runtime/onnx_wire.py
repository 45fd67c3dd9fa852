"""What must be known of an ONNX file before any of it is given to onnxruntime, read from its bytes.

An ONNX file is a protobuf message. This reader follows only the fields below and steps over everything else, so that
it needs no other package and takes no time for the weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["NotOnnx", "OnnxFacts", "read_facts"]

# Fields by number, as onnx.proto numbers them: the kind of message that one holds, or what it says.
FIELDS: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 10: "domain", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto", 7: "domain"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {13: "external_data", 14: "data_location"},
}
EXTERNAL = 1  # value of data_location

# Graphs lie within graphs where a network branches. The protobuf library itself stops at a depth of 100.
DEEPEST = 64

# A file of two bytes a field would take minutes for each gigabyte; a network has some ten thousands.
MOST_FIELDS = 2**22

VARINT, EIGHT_BYTES, COUNTED, FOUR_BYTES = 0, 1, 2, 5  # wire types
FIXED = {EIGHT_BYTES: 8, FOUR_BYTES: 4}


class NotOnnx(Exception):  # noqa: N818 -- says what the file is, and is always caught
    """The bytes are no ONNX model, or not all of one."""


@dataclass
class OnnxFacts:
    """What the bytes say."""

    domains: set[str] = field(default_factory=set)
    """Of all operators, those of functions and branches too; "" is ONNX's own."""

    has_graph: bool = False
    """Whether there is a network at all."""

    external_data: bool = False
    """Whether weights lie in other files."""

    fields: int = 0
    """How many fields were read."""


def read_facts(data: bytes) -> OnnxFacts:
    """Read the facts from the bytes of a file.

    Raises:
        NotOnnx: It is no ONNX model, or is cut off.
    """
    facts = OnnxFacts()
    _read("ModelProto", memoryview(data), facts, 0)
    if not facts.has_graph:
        raise NotOnnx("it holds no network")
    return facts


def _read(message: str, data: memoryview, facts: OnnxFacts, depth: int) -> None:
    if depth > DEEPEST:
        raise NotOnnx(f"its parts lie within each other more than {DEEPEST} deep")
    known = FIELDS[message]
    for number, value in _fields(data):
        facts.fields += 1
        if facts.fields > MOST_FIELDS:
            raise NotOnnx(f"it has more than {MOST_FIELDS:,} parts")
        kind = known.get(number)
        if kind == "data_location":
            facts.external_data |= value == EXTERNAL
        elif kind is None or isinstance(value, int):
            continue
        elif kind == "domain":
            facts.domains.add(bytes(value).decode("utf-8", "replace"))
        elif kind == "external_data":
            facts.external_data = True
        else:
            facts.has_graph |= kind == "GraphProto"
            _read(kind, value, facts, depth + 1)


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield number and value of each field of a message."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        wire = tag & 7
        if wire == VARINT:
            value, at = _varint(data, at)
            yield tag >> 3, value
            continue
        if wire == COUNTED:
            length, at = _varint(data, at)
        elif wire in FIXED:
            length = FIXED[wire]
        else:
            raise NotOnnx("it is no protobuf message")
        if not tag >> 3 or at + length > len(data):
            raise NotOnnx("it is cut off, or no ONNX file")
        yield tag >> 3, data[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return the number that begins at a position, and the position behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise NotOnnx("it is cut off, or no ONNX file")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & (2**64 - 1), at
    raise NotOnnx("it is no protobuf message")
