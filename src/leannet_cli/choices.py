"""Options that several verbs have, checked before anything slow is imported."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from leannet_runtime.errors import UserError

if TYPE_CHECKING:
    from leannet.data import BadImages

__all__ = ["bad_images_choice", "plain_name"]

LONGEST_NAME = 200  # bytes: systems take 255, and a number may follow


def bad_images_choice(value: str) -> BadImages:
    """Return what ``--bad-images`` was given, if it is one of its two values."""
    if value not in ("error", "skip"):
        raise UserError(f"--bad-images {value}", "it is neither error nor skip", "Pass one of them")
    return "skip" if value == "skip" else "error"


def plain_name(value: str | None) -> str | None:
    """Return what ``--name`` was given, if it is the name of one folder: a path would lead out of those of the runs."""
    if value is None:
        return None
    if value in (".", "..") or re.search(r"[/\\]", value):
        raise UserError(f"--name {value}", "it is no plain name", "Leave / and .. away, or pass --output FOLDER")
    if len(os.fsencode(value)) > LONGEST_NAME:
        raise UserError(f"--name {value}", f"it has more than {LONGEST_NAME} bytes", "Pass a shorter one")
    return value
