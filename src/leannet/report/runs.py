"""One network trained with one seed and judged once: the unit that a sweep is made of, and that survives a stop."""

from __future__ import annotations

import dataclasses
import json
import signal
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import torch
from accelerate import Accelerator

from leannet.measure import Predictions, count_macs, count_parameters
from leannet.training import (
    EpochRecord,
    PreparedData,
    Trainer,
    environment,
    evaluate,
    make_network,
    save_model_folder,
    seed_everything,
    train_network,
)
from leannet.training.runs import Stopped, StopSignals
from leannet_runtime import UserError
from leannet_runtime.files import make_folder, write_json, write_text

__all__ = ["RunObserver", "RunRecord", "finished_runs", "read_record", "train_run"]

RECORD = "record.json"


@dataclass(frozen=True)
class RunRecord:
    """The content of ``record.json``, which is written last: a folder that has it is finished."""

    network: str
    seed: int
    correct: int
    total: int
    epochs: int
    loss: float
    train_seconds: float
    images_per_second: float
    parameters: int
    macs: int
    uncounted: tuple[str, ...]

    @property
    def top1(self) -> float:
        """Accuracy in percent."""
        return 100 * self.correct / self.total


class RunObserver(Protocol):
    """Who is told how far a training is."""

    def batch_done(self, epoch: int, step: int, images: int) -> None:
        """One step is done: epoch (from 1), steps and images done in it."""

    def epoch_done(self, record: EpochRecord) -> None:
        """One epoch is done."""


def read_record(folder: Path) -> RunRecord | None:
    """Return the record of a finished run, None if there is none.

    Raises:
        UserError: The record is there, but it is not one.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return RunRecord(**{**fields, "uncounted": tuple(fields["uncounted"])})
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise UserError(f"cannot read {path}", str(error), "Remove this file to train the network again") from error


def finished_runs(folder: Path) -> list[RunRecord]:
    """Return the records of all finished runs of a sweep, by network and seed.

    Raises:
        UserError: A record is damaged.
    """
    found = [read_record(path.parent) for path in (folder / "networks").glob(f"*/seed-*/{RECORD}")]
    return sorted((record for record in found if record), key=lambda record: (record.network, record.seed))


def train_run(
    name: str, seed: int, data: PreparedData, folder: Path, accelerator: Accelerator, observer: RunObserver
) -> RunRecord:
    """Train a network, judge it on the held-out images, and write its folder.

    Args:
        name: The network.
        seed: Of weights, order and augmentation.
        data: Images and settled recipe.
        folder: Becomes a model folder with ``record.json``, ``environment.json``, ``epochs.csv`` and
            ``predictions.csv``.
        accelerator: From `leannet.training.make_accelerator`.
        observer: Told of each step.
    """
    make_folder(folder)
    recipe = data.recipe
    assert recipe.img_size is not None
    seed_everything(seed)
    model, _ = make_network(name, data.source.class_names, recipe)
    epochs: list[EpochRecord] = []

    def epoch_done(record: EpochRecord) -> None:
        epochs.append(record)
        _write_epochs(folder / "epochs.csv", epochs)
        observer.epoch_done(record)

    trainer = Trainer(
        model,
        data.train_batches(seed),
        recipe,
        data.num_classes,
        accelerator,
        teacher=data.teacher(accelerator.device),
    )

    def batch_done(epoch: int, step: int, images: int) -> None:
        observer.batch_done(epoch, step, images)
        if signals.received:
            raise Stopped(signals.received)

    with StopSignals((signal.SIGINT,)) as signals:
        signals.postponed = True
        model = train_network(trainer, on_batch=batch_done, on_epoch=epoch_done)
    batches = data.eval_batches()
    logits = evaluate(model, batches, accelerator.device, accelerator=accelerator)
    predicted = logits.argmax(dim=1)
    model = model.cpu()
    macs = count_macs(model, torch.zeros(1, 3, recipe.img_size, recipe.img_size))
    seconds = sum(epoch.seconds for epoch in epochs)
    record = RunRecord(
        network=name,
        seed=seed,
        correct=int((predicted == batches.labels).sum()),
        total=len(batches.labels),
        epochs=len(epochs),
        loss=epochs[-1].loss,
        train_seconds=seconds,
        images_per_second=sum(epoch.images_per_second * epoch.seconds for epoch in epochs) / seconds,
        parameters=count_parameters(model),
        macs=macs.total,
        uncounted=macs.uncounted,
    )
    save_model_folder(model, folder, data.source.class_names, data.preprocessing)
    answers = Predictions.from_logits(logits, batches.labels, batches.pixels.split.identifiers())
    answers.write(folder, data.source.class_names)
    write_json(folder / "environment.json", environment())
    write_json(folder / RECORD, asdict(record))
    return record


def _write_epochs(path: Path, epochs: list[EpochRecord]) -> None:
    rows = [dataclasses.asdict(epoch) for epoch in epochs]
    lines = [",".join(rows[0]), *(",".join(f"{value:.6g}" for value in row.values()) for row in rows)]
    write_text(path, "\n".join(lines) + "\n")
