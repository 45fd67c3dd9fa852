"""What an evaluation is asked to do, and what a model folder itself says about it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from leannet.data import BadImages

__all__ = ["Evaluation", "recorded_data", "run_name"]


@dataclass(frozen=True)
class Evaluation:
    """What is judged, on what, and how."""

    model: Path
    """The model folder."""

    data: str
    """What `leannet.data.open_source` takes."""

    split: str | None = None
    """"test", "validation" or "train"; by default test if it is there, else validation."""

    other: Path | None = None
    """The model folder of a second network that is judged on the same images."""

    img_size: int | None = None
    """Side of the images in pixels; by default that of each model folder."""

    batch_size: int = 128
    bad_images: BadImages = "error"
    ignore_unknown_classes: bool = False
    device: str = "auto"
    workers: int | None = None
    channels_last: bool = True

    def arguments(self) -> dict[str, Any]:
        """Return the content of ``args.yaml``."""
        return {
            "verb": "evaluate",
            "model": str(self.model),
            "data": self.data,
            "split": self.split,
            "compare": None if self.other is None else str(self.other),
            "img_size": self.img_size,
            "batch_size": self.batch_size,
            "bad_images": self.bad_images,
            "ignore_unknown_classes": self.ignore_unknown_classes,
            "device": self.device,
            "workers": self.workers,
            "channels_last": self.channels_last,
        }


def recorded_data(model: Path) -> str | None:
    """Return the data that the run of a model folder was made with, None if they are not written there.

    The ``args.yaml`` of a training lies beside ``best/`` and ``last/``, that of a comparison beside ``networks/``.
    """
    run = _run_folder(model)
    try:
        arguments = yaml.safe_load((run / "args.yaml").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    data = arguments.get("data") if isinstance(arguments, dict) else None
    return data if isinstance(data, str) else None


def run_name(model: Path) -> str:
    """Return what the results of a model folder are called: its run, or the network that a comparison trained."""
    folder = model.expanduser().resolve()
    is_part = folder.name in ("best", "last") or re.fullmatch(r"seed-\d+", folder.name)
    return (folder.parent if is_part else folder).name or "network"


def _run_folder(model: Path) -> Path:
    above = [model.expanduser().resolve(), *model.expanduser().resolve().parents]
    return above[3] if len(above) > 3 and above[2].name == "networks" else above[1] if len(above) > 1 else above[0]
