"""A run: one training from its first file to its last, which may be stopped and resumed at any moment."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

import torch
import yaml
from torch import nn

from leannet.data import SPLIT_SEED, open_source, with_validation
from leannet.measure import count_macs, count_parameters
from leannet.models import check_name, create_network, default_img_size, is_model_folder
from leannet.training.checkpoints import keep_only, load_checkpoint, save_checkpoint
from leannet.training.devices import USUAL_LAYOUT, make_accelerator
from leannet.training.distributed import agree, make_control_group
from leannet.training.environment import environment
from leannet.training.loop import Position, Trainer, seed_everything
from leannet.training.model_folder import save_model_folder
from leannet.training.network import check_network, make_network
from leannet.training.prepare import PreparedData, prepare_data, settle_recipe
from leannet.training.runs.judging import Judgement, chosen_by, describe_exits, judge_network
from leannet.training.runs.records import EpochRow, summarise, write_gates, write_rows
from leannet.training.runs.settings import ARGUMENTS, RESULTS, SPLIT_LISTS, RunSettings
from leannet.training.runs.stopping import Stopped, StopSignals
from leannet_runtime import UserError
from leannet_runtime.files import make_folder, remove_leftovers, write_json, write_text
from leannet_runtime.preprocessing import Preprocessing

__all__ = ["RunObserver", "train"]


class RunObserver(Protocol):
    """Who is told how far a run is; in a run of several processes, that of the first."""

    def reading(self, done: int, total: int) -> None:
        """Images are being decoded."""

    def data_ready(self, data: PreparedData) -> None:
        """The images are ready, before the first step."""

    def started(self, trainer: Trainer, notes: tuple[str, ...]) -> None:
        """Training begins, or goes on from `trainer.position`."""

    def update_done(self, position: Position) -> None:
        """The weights have changed once more."""

    def judging(self, done: int, total: int) -> None:
        """Images are being judged."""

    def epoch_done(self, row: EpochRow, best: bool) -> None:
        """An epoch is trained, judged and written (`best`: the best so far)."""


def train(settings: RunSettings, folder: Path, observer: RunObserver, *, resume: Path | None = None) -> dict[str, Any]:
    """Train a network, keep the best and the last, and judge the best on the test part.

    Args:
        settings: What to do.
        folder: The run folder: ``args.yaml``, ``environment.json``, ``splits.json``, ``results.csv``, ``results.json``,
            ``predictions.csv`` of the test part, and ``best`` and ``last``, the latter with all to go on from.
        observer: Told of every step.
        resume: Checkpoint to go on from.

    Returns:
        The content of ``results.json``.

    Raises:
        UserError: Something given does not fit; nothing that was written before is lost.
        Stopped: SIGINT or SIGTERM came; a checkpoint is written.
    """
    with StopSignals() as signals:
        return _Run(settings, folder, observer, signals).run(resume)


class _Run:
    """The parts of a run, and what it has come to so far."""

    def __init__(self, settings: RunSettings, folder: Path, observer: RunObserver, signals: StopSignals) -> None:
        check_name(settings.model)
        self.settings, self.folder, self.observer, self.signals = settings, folder, observer, signals
        self.accelerator = make_accelerator(
            settings.device, amp=settings.recipe.amp, track=settings.track, folder=folder
        )
        self.control = make_control_group()
        self.notes: tuple[str, ...] = ()  # on the network
        self.rows: list[EpochRow] = []
        self.gates: list[dict[str, float]] = []  # share of open gates by layer, an entry for each epoch
        self.best: dict[str, Any] | None = None
        self.written = time.monotonic()

    def run(self, resume: Path | None) -> dict[str, Any]:
        # The first process fills the caches that the others read.
        with self.accelerator.main_process_first():
            network = self._prepare()
        self.trainer = self._make_trainer(network)
        if self.settings.channels_last and not self.trainer.channels_last:
            self.notes = (*self.notes, USUAL_LAYOUT)
        if self.first:
            self.observer.data_ready(self.data)
        if resume is not None:
            checkpoint = load_checkpoint(resume)
            self._restore(resume, checkpoint.weights, checkpoint.state)
        elif self.first:
            self._write_beginning()
        if self.settings.track:
            plain = {**self.settings.arguments(), **self.data.recipe.as_dict()}
            known = {name: value for name, value in plain.items() if isinstance(value, bool | int | float | str)}
            self.accelerator.init_trackers(self.folder.name, config=known)
        if self.first:
            self.observer.started(self.trainer, self.notes)
        self.signals.postponed = True
        while not self.trainer.finished:
            self._epoch()
        results = self._finish()
        self.accelerator.end_training()
        return results

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.accelerator.is_main_process

    def _prepare(self) -> nn.Module:
        """Make the network, and make the data ready."""
        settings = self.settings
        source = open_source(
            settings.data,
            seed=SPLIT_SEED,
            bad_images=settings.bad_images,
            workers=settings.workers,
            progress=self.observer.reading if self.first else None,
            ignore_unknown_classes=settings.ignore_unknown_classes,
        )
        source = with_validation(source, settings.val_fraction, SPLIT_SEED)
        recipe = settings.recipe
        folder = is_model_folder(settings.model)
        if recipe.img_size is None and folder:
            recipe = replace(recipe, img_size=default_img_size(settings.model))
        recipe = settle_recipe(recipe, source)
        seed_everything(settings.seed)
        network, self.notes = make_network(settings.model, source.class_names, recipe, settings.weights)
        assert recipe.img_size is not None
        check_network(network, settings.model, len(source.class_names), recipe.img_size)
        begins_trained = folder or recipe.pretrained or settings.weights is not None
        like = Preprocessing.from_pretrained_cfg(network.pretrained_cfg) if begins_trained else None  # type: ignore[arg-type]
        parts = tuple(part for part in ("validation", "test") if part in source.splits)
        self.data = prepare_data(source, recipe, parts=parts, like=like)
        return network

    def _make_trainer(self, network: nn.Module) -> Trainer:
        """Begin the training; here the processes meet, so none of them may be ahead of the others."""
        settings = self.settings
        rank, size = self.accelerator.process_index, self.accelerator.num_processes
        return Trainer(
            network,
            self.data.train_batches(settings.seed, rank, size),
            self.data.recipe,
            self.data.num_classes,
            self.accelerator,
            teacher=self.data.teacher(self.accelerator.device),
            channels_last=settings.channels_last,
            compile=settings.compile,
            sync_bn=settings.sync_bn,
        )

    def _restore(self, checkpoint: Path, weights: dict[str, torch.Tensor], state: dict[str, Any]) -> None:
        if state["data"] != self.data.source.fingerprint:
            why = f"the images of {self.settings.data} are not those it was begun with"
            raise UserError(f"cannot resume {self.folder}", why, "Put them back, or train anew")
        if state["processes"] != self.accelerator.num_processes:
            why = f"it was begun with {state['processes']} processes, and these are {self.accelerator.num_processes}"
            raise UserError(f"cannot resume {self.folder}", why, "Start as many: the total batch depends on it")
        try:
            self.trainer.restore(weights, state["trainer"])
            self.rows, self.gates = [EpochRow(**row) for row in state["rows"]], state["gates"]
        except (RuntimeError, TypeError, ValueError, KeyError) as error:
            why = f"it belongs to another network, recipe or version ({str(error).splitlines()[0]})"
            raise UserError(f"cannot use the checkpoint {checkpoint}", why, "Give that of this run") from error
        self.best = state["best"]
        if self.first:
            keep_only(checkpoint)
            for folder in (self.folder, self.folder / "best"):
                remove_leftovers(folder)  # of a process that was killed
            self._write_tables()

    def _write_tables(self) -> None:
        write_rows(self.folder / "results.csv", self.rows)
        if self.gates:
            write_gates(self.folder / "gates.csv", self.gates)

    def _write_beginning(self) -> None:
        make_folder(self.folder)
        write_text(self.folder / ARGUMENTS, yaml.safe_dump(self.settings.arguments(), sort_keys=False))
        described = {"seed": self.settings.seed, "processes": self.accelerator.num_processes}
        write_json(self.folder / "environment.json", environment() | described | {"data": self.data.description()})
        write_json(self.folder / SPLIT_LISTS, self.data.source.split_lists)

    def _epoch(self) -> None:
        record = self.trainer.run_epoch(self._after_update)
        judgement = self._judge(self.trainer.judged, "validation") if "validation" in self.data.parts else None
        row = EpochRow(
            record.epoch,
            record.loss,
            judgement.loss if judgement else None,
            judgement.top1 if judgement else None,
            record.lr,
            record.images_per_second,
            record.seconds,
            judgement.columns() if judgement else {},
        )
        self.rows.append(row)
        if judgement and judgement.gates:
            self.gates.append(judgement.gates)
        better = judgement is None or self.best is None or judgement.score > self.best["score"]
        if better:
            self.best = {"epoch": row.epoch, "score": judgement.score if judgement else None}
        self.trainer.finish_epoch(row.val_top1)
        if self.first:
            if better:
                save_model_folder(
                    self.trainer.judged, self.folder / "best", self.data.source.class_names, self.data.preprocessing
                )
            self._save()
            self._write_tables()
            self.observer.epoch_done(row, better)
        if self.settings.track:
            numbers = {name: value for name, value in asdict(row).items() if isinstance(value, int | float)} | row.more
            self.accelerator.log(numbers, step=row.epoch)
        self._stop_if_asked(saved=True)

    def _after_update(self, position: Position) -> None:
        if self.first:
            self.observer.update_done(position)
        self._stop_if_asked(saved=False)
        if self.first and time.monotonic() - self.written >= self.settings.checkpoint_every:
            self._save()

    def _stop_if_asked(self, saved: bool) -> None:
        """Stop in all processes at the same step, when one of them was asked to."""
        number = agree(self.signals.received, self.control)
        if number:
            if self.first and not saved:
                self._save()
            self.accelerator.wait_for_everyone()
            raise Stopped(number)

    def _save(self) -> None:
        state = {
            "trainer": self.trainer.state(),
            "rows": [asdict(row) for row in self.rows],
            "gates": self.gates,
            "best": self.best,
            "data": self.data.source.fingerprint,
            "processes": self.accelerator.num_processes,
        }
        names, preprocessing = self.data.source.class_names, self.data.preprocessing
        with self.signals.writing():
            save_checkpoint(self.folder, self.trainer.network, names, preprocessing, state)
        self.written = time.monotonic()

    def _judge(self, network: nn.Module, part: str) -> Judgement:
        rank, size = self.accelerator.process_index, self.accelerator.num_processes
        batches = self.data.eval_batches(part, rank, size)
        told = (lambda done: self.observer.judging(done, len(batches.positions))) if self.first else None
        return judge_network(network, batches, part, self.accelerator, told)

    def _finish(self) -> dict[str, Any]:
        """Judge the network that is kept on the test part, once, and write the results."""
        best = create_network(str(self.folder / "best")).to(self.accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        judged = {part: self._judge(best, part) for part in self.data.parts}
        parts = {part: judgement.record() for part, judgement in judged.items()}
        size = self.data.preprocessing.img_size
        best = best.cpu()
        macs = count_macs(best, torch.zeros(1, 3, size, size))
        results = {
            "model": self.settings.model,
            "data": self.settings.data,
            "seed": self.settings.seed,
            "epochs": len(self.rows),
            "best_epoch": self.best["epoch"] if self.best else None,
            "chosen_by": chosen_by(judged.get("validation")),
            **parts,
            "parameters": count_parameters(best),
            "macs": macs.total,
            **describe_exits(best, size, list(judged.values())),
            "uncounted": macs.uncounted,
            **summarise(self.rows),
            "skipped_images": {part: len(found) for part, found in self.data.scan.damaged.items()},
            "notes": [*self.data.notes, *self.notes],
        }
        if self.first:
            for judgement in [*judged.values()][-1:]:
                judgement.answers.write(self.folder, self.data.source.class_names)
            write_json(self.folder / RESULTS, results)
        self.accelerator.wait_for_everyone()
        return results
