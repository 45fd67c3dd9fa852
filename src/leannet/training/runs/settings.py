"""What a run of training was asked to do: the content of ``args.yaml``."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from leannet.data import BadImages
from leannet.training.checkpoints import find_checkpoint
from leannet.training.recipe import Recipe
from leannet_runtime import UserError
from leannet_runtime.files import new_folder, runs_folder

__all__ = ["RunSettings", "new_run_folder", "newest_run", "read_settings"]

ARGUMENTS, RESULTS, SPLIT_LISTS = "args.yaml", "results.json", "splits.json"


@dataclass(frozen=True)
class RunSettings:
    """A network, images, a recipe, and how the run goes about it.

    Args:
        model: A timm name, "torchvision/NAME" or a model folder.
        data: See `leannet.data.open_source`.
        recipe: The settings of training.
        seed: Of weights, order, augmentation and everything else that is drawn.
        weights: A file of weights to begin with.
        val_fraction: Share of each class of the training part that becomes the validation part, where there is none;
            0 trains on all, and keeps the last network instead of the best.
        bad_images: "skip" leaves damaged images out and counts them, "error" refuses.
        ignore_unknown_classes: Leave out images of other parts whose class the training part lacks.
        device: "auto", "cpu" or "cuda".
        workers: Threads or processes that decode.
        channels_last: How weights and images lie in memory.
        compile: Whether the network goes through `torch.compile`.
        sync_bn: Whether batch norms take their statistics over all processes.
        checkpoint_every: Seconds between checkpoints inside an epoch; each epoch ends with one anyway.
        track: Names of trackers.
    """

    model: str
    data: str
    recipe: Recipe
    seed: int = 0
    weights: str | None = None
    val_fraction: float = 0.1
    bad_images: BadImages = "skip"
    ignore_unknown_classes: bool = False
    device: str = "auto"
    workers: int | None = None
    channels_last: bool = True
    compile: bool = False
    sync_bn: bool = True
    checkpoint_every: float = 300.0
    track: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.val_fraction < 1:
            raise UserError(f"--val-fraction {self.val_fraction}", "it is a share from 0 to below 1", "Pass 0.1, say")
        if not 0 <= self.seed < 2**63:
            raise UserError(f"--seed {self.seed}", "a seed is a whole number from 0 on", "Pass 0, say")

    def arguments(self) -> dict[str, Any]:
        """Return the content of ``args.yaml``."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**fields, "track": list(self.track), "recipe": self.recipe.as_dict()}


def read_settings(file: Path) -> RunSettings:
    """Read the ``args.yaml`` of a run.

    Raises:
        UserError: It is not one.
    """
    try:
        fields = yaml.safe_load(file.read_text(encoding="utf-8"))
        recipe = Recipe(**fields.pop("recipe"))
        return RunSettings(**{**fields, "recipe": recipe, "track": tuple(fields.get("track", ()))})
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, KeyError, AttributeError) as error:
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"cannot read {file}", f"not the settings of a training ({why})", "Name another run") from error


def new_run_folder(model: str, data: str, name: str | None = None) -> Path:
    """Return a folder that is not there yet: ``runs/train/NAME``, or with -2, -3 ... behind it.

    Args:
        model: For the name "MODEL-DATA".
        data: For the same.
        name: Another name.
    """
    return new_folder("train", name or f"{_short(model)}-{_short(data)}")


def newest_run() -> Path:
    """Return the run folder that was written last and is not finished.

    Raises:
        UserError: There is none.
    """
    runs = runs_folder("train")
    found = [(folder, find_checkpoint(folder)) for folder in runs.glob("*") if (folder / ARGUMENTS).is_file()]
    open_runs = [
        (checkpoint.stat().st_mtime if checkpoint else (folder / ARGUMENTS).stat().st_mtime, folder)
        for folder, checkpoint in found
        if not (folder / RESULTS).is_file()
    ]
    if not open_runs:
        why = f"{runs} holds no unfinished run" if found else f"{runs} holds no run"
        raise UserError("nothing to resume", why, "Name the folder: --resume RUN")
    return max(open_runs)[1]


def _short(text: str) -> str:
    """Return the last part of a name or a path, fit for a file name; "runs/x/best" is called x."""
    path = Path(text)
    parts = [part for part in path.parts if part not in ("best", "last", "previous")]
    stem = Path(parts[-1]).stem if parts and path.suffix in (".parquet", ".csv", ".tsv") else (parts or ["run"])[-1]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-.") or "run"
