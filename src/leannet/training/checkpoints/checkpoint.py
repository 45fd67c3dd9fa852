"""A checkpoint: everything with which a training goes on as if it had never stopped. safetensors and JSON, no pickle.

It is a folder: ``config.json`` and ``model.safetensors`` make it a model folder, ``training.safetensors`` and
``training.json`` hold the rest, and ``SHA256SUMS`` (readable for ``sha256sum --check``) says what each must be.
A run has two, ``last`` and the one before, ``previous``.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from leannet.training.checkpoints.packing import pack, unpack
from leannet.training.model_folder import save_model_folder
from leannet_runtime import UserError
from leannet_runtime.files import file_sha256, make_folder, write_file, write_json, write_text
from leannet_runtime.preprocessing import Preprocessing

__all__ = ["Checkpoint", "find_checkpoint", "keep_only", "load_checkpoint", "save_checkpoint"]

LAST, PREVIOUS, UNFINISHED = "last", "previous", ".last.unfinished"
WEIGHTS, STATE, VALUES, SUMS = "model.safetensors", "training.safetensors", "training.json", "SHA256SUMS"


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Args:
        weights: State of the network.
        state: Nested state of everything else (average of the weights, optimizer, schedule, position, best so far).
    """

    weights: dict[str, Tensor]
    state: dict[str, Any]


def save_checkpoint(
    run: Path, network: nn.Module, class_names: tuple[str, ...], preprocessing: Preprocessing, state: dict[str, Any]
) -> None:
    """Write ``run/last``; what was there becomes ``run/previous``.

    All files are written and synchronised under another name first. Whenever the process dies, one whole checkpoint
    is there: ``last``, or, between the two renames, ``previous``.

    Args:
        run: The run folder.
        network: Its weights.
        class_names: For the model folder.
        preprocessing: For the model folder.
        state: See `Checkpoint`.

    Raises:
        UserError: There is no room, or the folder cannot be written; the checkpoints that were there stay.
    """
    unfinished, last, previous = run / UNFINISHED, run / LAST, run / PREVIOUS
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        make_folder(unfinished)
        tensors: dict[str, Tensor] = {}
        packed = pack(state, tensors, "state")
        save_model_folder(network, unfinished, class_names, preprocessing)
        write_file(unfinished / STATE, lambda path: save_file(tensors, path))
        write_json(unfinished / VALUES, packed)
        files = sorted(path.name for path in unfinished.iterdir())
        write_text(unfinished / SUMS, "".join(f"{file_sha256(unfinished / name)}  {name}\n" for name in files))
        _synchronise(unfinished)
    except BaseException as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        if isinstance(error, UserError):
            whole = "the checkpoint before it is whole" if find_checkpoint(run) else "there is none before it"
            raise UserError(
                f"cannot write the checkpoint {last}",
                f"{error.why} ({whole})",
                f"Make room, then go on with: leannet train --resume {run}",
            ) from error
        raise
    if last.is_dir():
        shutil.rmtree(previous, ignore_errors=True)
        last.replace(previous)
    unfinished.replace(last)
    _synchronise(run)


def find_checkpoint(run: Path) -> Path | None:
    """Return the newest checkpoint of a run, None if there is none."""
    return next((run / name for name in (LAST, PREVIOUS) if (run / name).is_dir()), None)


def keep_only(checkpoint: Path) -> None:
    """Take away a checkpoint newer than this one, from which a run goes on because the newer one is damaged.

    Else the next one written would put the damaged one in the place of this one for a moment.
    """
    if checkpoint.name == PREVIOUS:
        shutil.rmtree(checkpoint.parent / LAST, ignore_errors=True)


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint, every byte of which is checked.

    Args:
        folder: ``last`` or ``previous`` of a run.

    Raises:
        UserError: A file is missing, cut off or changed; the checkpoint before is named, if there is one.
    """
    for line in _sums(folder):
        expected, _, name = line.partition("  ")
        path = folder / name
        if not path.is_file():
            raise _damaged(folder, f"{path} is missing")
        if file_sha256(path) != expected:
            raise _damaged(folder, f"{path} is not what was written (its SHA-256 differs)")
    values = json.loads((folder / VALUES).read_text(encoding="utf-8"))
    return Checkpoint(load_file(folder / WEIGHTS), unpack(values, load_file(folder / STATE)))


def _sums(folder: Path) -> list[str]:
    """Return the lines of the list of sums, after a look whether it is a whole one."""
    try:
        text = (folder / SUMS).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(folder, f"{folder / SUMS} cannot be read") from error
    *lines, rest = text.split("\n")  # splitlines would take other characters for ends of lines too
    names = {line.partition("  ")[2] for line in lines}
    if rest or not names >= {"config.json", WEIGHTS, STATE, VALUES}:
        raise _damaged(folder, f"{folder / SUMS} is cut off or changed")
    return lines


def _damaged(folder: Path, why: str) -> UserError:
    other = folder.parent / (PREVIOUS if folder.name == LAST else LAST)
    if other.is_dir():
        remedy = f"Go on from the other checkpoint of this run: leannet train --resume {other}"
    else:
        remedy = "There is no other checkpoint of this run: train anew"
    return UserError(f"cannot use the checkpoint {folder}", why, remedy)


def _synchronise(folder: Path) -> None:
    """Make sure that the names in a folder are on the disk, as far as the system can do that."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
