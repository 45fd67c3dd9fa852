"""Device, precision, processes and trackers, through accelerate."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, ProjectConfiguration
from torch import nn

from leannet_runtime import UserError

__all__ = ["TRACKERS", "USUAL_LAYOUT", "bears_channels_last", "keep_freed_memory", "make_accelerator"]

TRACKERS = ("tensorboard", "wandb", "mlflow", "trackio")
"""Names of trackers, each that of the package it needs."""

# The first process may read the images and fill the caches for hours, and the others wait for it in an exchange, which
# torch would end after 10 minutes on GPUs and 30 on CPUs. A process that dies is noticed by the launcher, not by this.
PATIENCE = timedelta(hours=12)


def make_accelerator(
    device: str = "auto", *, amp: bool = False, track: Sequence[str] = (), folder: Path | None = None
) -> Accelerator:
    """Choose the device, and find the other processes if a launcher started several.

    Args:
        device: "auto" (a GPU if there is one), "cpu" or "cuda".
        amp: Mixed precision: bfloat16, on GPUs without it float16.
        track: Some of `TRACKERS`.
        folder: Where trackers write that write to a folder.

    Raises:
        UserError: The device is not there, or the package of a tracker is not installed.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise UserError(f"unknown device {device}", "it is not auto, cpu or cuda", "Pass --device auto")
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("no device cuda", "PyTorch finds no GPU", "Pass --device cpu")
    for tracker in track:
        if tracker not in TRACKERS:
            raise UserError(f"unknown tracker {tracker}", "accelerate has no such", f"Choose {' or '.join(TRACKERS)}")
        if find_spec(tracker) is None:
            remedy = f"{Path(sys.executable).name} -m pip install {tracker}, or leave --track away"
            raise UserError(f"cannot track with {tracker}", f"{tracker} is not installed", remedy)
    cpu = device == "cpu" or not torch.cuda.is_available()
    half = "bf16" if cpu or torch.cuda.is_bf16_supported() else "fp16"
    return Accelerator(
        cpu=cpu,
        mixed_precision=half if amp else "no",
        log_with=list(track) or None,
        kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
        project_config=ProjectConfiguration(
            str(folder) if folder else None, logging_dir=str(folder) if folder else None
        ),
    )


def keep_freed_memory() -> bool:
    """Let this process keep the memory that tensors give back, for the next ones.

    By its defaults glibc hands large blocks back to the system as soon as they are freed, and each step of a training
    on a CPU gets the same ones again, page by page and filled with zeros: up to a quarter of the processor's time. The
    memory of a process is then at its largest all the time; that largest is hardly larger.

    Returns:
        Whether it was done: not on systems without glibc, and not where the user chose (``MALLOC_`` or
        ``GLIBC_TUNABLES`` in the environment, or another allocator by ``LD_PRELOAD``).
    """
    chosen = any(name.startswith("MALLOC_") or name in ("GLIBC_TUNABLES", "LD_PRELOAD") for name in os.environ)
    if chosen or not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(option, value) == 1 for option, value in _KEEP.items())


# glibc's numbers of M_MMAP_THRESHOLD and M_TRIM_THRESHOLD, and the largest block and rest to keep, in bytes.
_KEEP = {-3: 2**30, -1: 2**31 - 1}


USUAL_LAYOUT = "not trained channels last: on a CPU, that damages memory where few channels enter a strided convolution"
"""What the user of a network is told that does not bear it."""


def bears_channels_last(network: nn.Module) -> bool:
    """Say whether a network can be trained on a CPU with its images channels last.

    In that layout oneDNN's gradient of the weights of a 1x1 convolution with a stride writes past its buffer where
    fewer than 16 channels come in: the process dies, or goes on with damaged memory. Seen with PyTorch 2.14.1, oneDNN
    3.12.0, AVX-512; not in the usual layout, and not without gradients.

    Args:
        network: Of any origin.
    """
    return not any(
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (1, 1)
        and module.stride != (1, 1)
        and module.in_channels < _FEW_CHANNELS
        for module in network.modules()
    )


_FEW_CHANNELS = 16  # one vector of AVX-512
