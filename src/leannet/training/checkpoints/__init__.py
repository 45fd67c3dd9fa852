"""Checkpoints from which a training goes on exactly."""

from leannet.training.checkpoints.checkpoint import (
    Checkpoint,
    find_checkpoint,
    keep_only,
    load_checkpoint,
    save_checkpoint,
)

__all__ = ["Checkpoint", "find_checkpoint", "keep_only", "load_checkpoint", "save_checkpoint"]
