"""What an evaluation is asked to do, and what a model folder itself says about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leannet.data import BadImages

__all__ = ["Evaluation"]


@dataclass(frozen=True)
class Evaluation:
    """What is judged, on what, and how."""

    model: Path
    """The model folder."""

    data: str | None = None
    """What `leannet.data.open_source` takes; by default the data of the run that wrote the model folder."""

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
    early_exit: bool = True
    """Let images leave a network with exits as it was calibrated."""

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
            "early_exit": self.early_exit,
        }
