"""What a model folder says about its network: its ``config.json``, in timm's layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from leannet_runtime import UserError

__all__ = ["CONFIG", "first_line", "is_out_of_memory", "read_model_config", "unusable_config"]

CONFIG = "config.json"

LARGEST = 2**24  # bytes: the names of a million classes

_REMEDY = "Give a folder that training wrote"


def read_model_config(folder: str | Path) -> dict[str, Any]:
    """Read the ``config.json`` of a model folder.

    Args:
        folder: Written by training, by timm or by the Hub.

    Returns:
        Its content: "architecture" is text; "pretrained_cfg", "num_classes", "label_names" and others are as they are.

    Raises:
        UserError: It is no model folder, or the file cannot be read, or names no network.
    """
    path = Path(folder) / CONFIG
    if not path.is_file():
        missing = "it is a file" if path.parent.is_file() else "no such folder"
        why = f"it has no {CONFIG}" if path.parent.is_dir() else missing
        inside = [path.parent / name for name in ("best", "last") if (path.parent / name / CONFIG).is_file()]
        raise UserError(f"{folder} is no model folder", why, f"Give {inside[0]}" if inside else _REMEDY)
    try:
        if path.stat().st_size > LARGEST:
            raise unusable_config(folder, f"it has more than {LARGEST:,} bytes")
        config = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise UserError(f"cannot read {path}", "its lists lie too deep within each other", _REMEDY) from error
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UserError(f"cannot read {path}", why, _REMEDY) from error
    if not isinstance(config, dict) or not isinstance(config.get("architecture"), str):
        raise unusable_config(folder, "it names no architecture")
    return config


def unusable_config(folder: str | Path, why: str) -> UserError:
    """Return the error for a ``config.json`` that can be read, and does not describe a network."""
    return UserError(f"cannot use {Path(folder) / CONFIG}", why, _REMEDY)


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its type where it says nothing."""
    if is_out_of_memory(error):
        return "there is not enough memory for it"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text.strip().splitlines()[0] if text.strip() else type(error).__name__


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether memory did not suffice; PyTorch has an exception of its own for each device."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "allocate" in str(error))
