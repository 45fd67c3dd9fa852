"""Under which circumstances a run was made."""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from leannet_runtime.cores import usable_cores

__all__ = ["environment"]

_PACKAGES = ("accelerate", "numpy", "pillow", "timm", "torch", "torchvision")
_WHERE_INSTALLED = ("executorch", "onnx", "onnxruntime", "onnxscript", "openvino", "scipy")


def environment() -> dict[str, Any]:
    """Describe command, versions and machine, for ``environment.json``.

    Returns:
        Plain values for JSON. ``command`` is that of leannet or of a script, None in a notebook. ``commit`` is that of
        the source tree leannet runs from, None if it runs from a package.
    """
    return {
        "command": _command(),
        "leannet": metadata.version("leannet"),
        "commit": _commit(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in _PACKAGES} | _installed(),
        "machine": {
            "system": platform.system(),
            "processor": _processor(),
            # A processor without them is another one, however it is called: arithmetic gets slower, memory does not.
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "cores": usable_cores(),
            "threads": torch.get_num_threads(),
            # Threads that wait actively, as they do by default, slow down whatever shares the cores with them.
            "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY"),
            "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        },
    }


def _command() -> str | None:
    program = Path(sys.argv[0])
    # Launchers of several processes start it as a module.
    if program.stem == "leannet" or program.parts[-2:] == ("leannet_cli", "__main__.py"):
        return shlex.join(["leannet", *sys.argv[1:]])
    launched = program.name in ("__main__.py", "ipykernel_launcher.py")
    if program.suffix != ".py" or launched or not program.is_file():
        return None
    here, script = Path.cwd(), program.resolve()
    # Where it lies on this machine is of no use on another.
    name = script.relative_to(here) if script.is_relative_to(here) else script.name
    return shlex.join(["python", str(name), *sys.argv[1:]])


def _installed() -> dict[str, str]:
    found = {}
    for name in _WHERE_INSTALLED:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _processor() -> str:
    """Name the processor; Linux keeps the name where Python does not look."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _commit() -> str | None:
    folder = Path(__file__).parent
    try:
        # An installed package may lie in a repository that is not ours.
        tracked = ["git", "ls-files", "--error-unmatch", Path(__file__).name]
        subprocess.run(tracked, cwd=folder, capture_output=True, check=True)
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True)
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--", "."], cwd=folder, capture_output=True, text=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() + (" with changes" if changed.stdout.strip() else "")
