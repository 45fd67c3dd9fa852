"""Nested state of optimizers and schedules as tensors (for safetensors) and plain values (for JSON), exactly."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["pack", "unpack"]


def pack(value: Any, tensors: dict[str, Tensor], name: str) -> Any:
    """Take the tensors out of a nested value.

    Args:
        value: Dictionaries, lists, tuples, numbers, texts, None and tensors, in any depth.
        tensors: Each tensor is put in here, on the CPU, under a name that begins with `name`.
        name: Where in the whole this value stands.

    Returns:
        What `json` can write: every container is ``{"kind": ..., "items": [...]}``, so that integer keys and tuples
        come back as what they were.

    Raises:
        TypeError: Something else is in it.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor):
        # A copy of its own: safetensors refuses tensors that share memory.
        tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {"kind": "tensor", "name": name, "channels_last": _is_channels_last(value)}
    if isinstance(value, dict):
        items = [[key, pack(item, tensors, f"{name}.{key}")] for key, item in value.items()]
        return {"kind": "dict", "items": items}
    if isinstance(value, list | tuple):
        items = [pack(item, tensors, f"{name}.{number}") for number, item in enumerate(value)]
        return {"kind": type(value).__name__, "items": items}
    raise TypeError(f"{name} is a {type(value).__name__}, which no checkpoint can hold")


def unpack(packed: Any, tensors: dict[str, Tensor]) -> Any:
    """Put the tensors back: the inverse of `pack`."""
    if not isinstance(packed, dict):
        return packed
    kind = packed["kind"]
    if kind == "tensor":
        tensor = tensors[packed["name"]]
        return tensor.contiguous(memory_format=torch.channels_last) if packed["channels_last"] else tensor
    if kind == "dict":
        return {key: unpack(item, tensors) for key, item in packed["items"]}
    items = [unpack(item, tensors) for item in packed["items"]]
    return tuple(items) if kind == "tuple" else items


def _is_channels_last(value: Tensor) -> bool:
    return value.ndim == 4 and not value.is_contiguous() and value.is_contiguous(memory_format=torch.channels_last)
