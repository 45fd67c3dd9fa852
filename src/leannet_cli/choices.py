"""Options with a few possible values, checked before anything slow is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from leannet_runtime.errors import UserError

if TYPE_CHECKING:
    from leannet.data import BadImages

__all__ = ["bad_images_choice"]


def bad_images_choice(value: str) -> BadImages:
    """Return what ``--bad-images`` was given, if it is one of its two values."""
    if value not in ("error", "skip"):
        raise UserError(f"--bad-images {value}", "it is neither error nor skip", "Pass one of them")
    return "skip" if value == "skip" else "error"
