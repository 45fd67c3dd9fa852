"""Judge a saved network on a labelled split, and write down everything that came of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from leannet.data import EvalBatches, Pixels, Source, load_pixels
from leannet.data.split import some, split_word
from leannet.early_exit import (
    ExitSummary,
    answers_of_policy,
    calibrated_on,
    collect_answers,
    read_policy,
    summarise_exits,
)
from leannet.measure import Predictions, measure_accuracy, measure_difference
from leannet.models import has_exits
from leannet.report.evaluation.files import evaluation_folder, write_evaluation
from leannet.report.evaluation.request import Evaluation
from leannet.report.evaluation.result import Comparison, EvaluationResult
from leannet.training import SavedNetwork, evaluate, load_saved_network, make_accelerator
from leannet.training.runs import open_run_source
from leannet_runtime import UserError

__all__ = ["EvaluationObserver", "run_evaluation"]


class EvaluationObserver(Protocol):
    """Who is told how far an evaluation is; the command line draws a bar."""

    def data_ready(self, network: SavedNetwork, source: Source, split: str, notes: Sequence[str]) -> None:
        """The network and the images are found and fit each other."""

    def reading(self, done: int, total: int) -> None:
        """Images are being decoded."""

    def judging(self, network: SavedNetwork, total: int, done: int) -> None:
        """So many of all images are answered; 0 at the beginning."""


def run_evaluation(evaluation: Evaluation, folder: Path, observer: EvaluationObserver) -> EvaluationResult:
    """Judge a network, and a second one on the same images where that is asked for.

    Args:
        evaluation: What is judged, on what, and how.
        folder: Where everything is written: ``results.json``, ``predictions.csv``, ``per_class.csv``,
            ``confusion_matrix.csv`` and ``.svg``, ``confidently_wrong.csv`` and ``.png``, ``environment.json``,
            ``args.yaml``.
        observer: Told of every step.

    Raises:
        UserError: Something given does not fit.
    """
    device = make_accelerator(evaluation.device).device
    network = load_saved_network(evaluation.model, evaluation.img_size)
    other = None if evaluation.other is None else load_saved_network(evaluation.other, evaluation.img_size)
    source = open_run_source(
        evaluation.model,
        evaluation.data,
        bad_images=evaluation.bad_images,
        workers=evaluation.workers,
        progress=observer.reading,
        ignore_unknown_classes=evaluation.ignore_unknown_classes,
    )
    evaluation = replace(evaluation, data=source.location)
    split = _choose_split(evaluation, source)
    notes = [*source.notes, *_check_classes(network, source.class_names)]
    if evaluation.early_exit and calibrated_on(evaluation.model) == (source.fingerprint, split):
        notes.append("the thresholds of the exits were chosen on these images: expect less of others")
    if other is not None:
        notes += _check_classes(other, source.class_names)
    with evaluation_folder(folder):
        observer.data_ready(network, source, split, notes)
        judge = partial(_judge, evaluation=evaluation, source=source, split=split, device=device, observer=observer)
        pixels, logits, exits = judge(network)
        predictions = _predictions(logits, pixels)
        result = EvaluationResult(
            network=network,
            source=source,
            split_name=split,
            split=pixels.split,
            skipped=len(source.splits[split]) - len(pixels.split),
            class_names=source.class_names,
            accuracy=measure_accuracy(logits, torch.from_numpy(pixels.split.labels)),
            predictions=predictions,
            comparison=None if other is None else _compare(network, predictions, other, source, *judge(other)[:2]),
            notes=(*notes, *pixels.notes),
            exits=exits,
        )
        write_evaluation(result, evaluation, folder)
    return result


def _predictions(logits: Tensor, pixels: Pixels) -> Predictions:
    return Predictions.from_logits(logits, torch.from_numpy(pixels.split.labels), pixels.split.identifiers())


def _compare(
    network: SavedNetwork, answers: Predictions, other: SavedNetwork, source: Source, pixels: Pixels, logits: Tensor
) -> Comparison:
    """Put a second network beside the first, whose `answers` are known; `logits` are its own for `pixels`."""
    logits = logits[:, _order(other, source.class_names)]
    others = _predictions(logits, pixels)
    difference = measure_difference(torch.from_numpy(answers.correct), torch.from_numpy(others.correct))
    sentence = difference.sentence(str(network.folder), str(other.folder))
    accuracy = measure_accuracy(logits, torch.from_numpy(pixels.split.labels))
    return Comparison(other, accuracy, others, difference, sentence)


def _choose_split(evaluation: Evaluation, source: Source) -> str:
    """Return the name of the split that is judged."""
    if evaluation.split is None:
        return next((name for name in ("test", "validation") if name in source.splits), next(iter(source.splits)))
    wanted = split_word(evaluation.split) or evaluation.split
    if wanted not in source.splits:
        there = " and ".join(source.splits)
        raise UserError(f"no split {evaluation.split}", f"{source.location} has {there}", "Pass one of them as --split")
    return wanted


def _check_classes(network: SavedNetwork, class_names: tuple[str, ...]) -> list[str]:
    """Make sure that a network tells these classes from each other, and return what could not be checked."""
    if network.class_names is None:
        if network.num_classes != len(class_names):
            why = f"it answers {network.num_classes} classes, and there are {len(class_names)}"
            raise UserError(f"{network.folder} does not fit the data", why, "Give the data that it was trained for")
        return [f"{network.folder} does not name its classes: that they are those of the data was not checked"]
    if set(network.class_names) != set(class_names):
        lacks = sorted(set(class_names) - set(network.class_names))
        more = sorted(set(network.class_names) - set(class_names))
        found = [f"does not know {some(lacks)}"] * bool(lacks) + [f"knows {some(more)} too"] * bool(more)
        remedy = "Compare networks of the same classes"
        raise UserError(f"cannot compare {network.folder}", f"it {' and '.join(found)}", remedy)
    return []


def _order(network: SavedNetwork, class_names: tuple[str, ...]) -> list[int]:
    """Return which logit of a network belongs to each class."""
    own = network.class_names or class_names
    return [own.index(name) for name in class_names]


def _judge(
    network: SavedNetwork,
    *,
    evaluation: Evaluation,
    source: Source,
    split: str,
    device: torch.device,
    observer: EvaluationObserver,
) -> tuple[Pixels, Tensor, ExitSummary | None]:
    """Return the images that could be read, the logits of each, float32 ``(N, C)``, and what exits made of them."""
    pixels = load_pixels(source, split, network.preprocessing)
    layout = torch.channels_last if evaluation.channels_last else torch.contiguous_format
    model = network.model.to(device).to(memory_format=layout)
    batches = (EvalBatches if evaluation.channels_last else _ContiguousBatches)(
        pixels, network.preprocessing, evaluation.batch_size
    )
    told = partial(observer.judging, network, len(pixels))
    told(0)
    exits = None
    if has_exits(model):
        answers = collect_answers(model, batches, network.preprocessing.img_size, device, told)
        policy = read_policy(network.folder, answers.num_exits) if evaluation.early_exit else None
        logits, exits = answers_of_policy(answers, policy)[0], summarise_exits(answers, policy)
    else:
        logits = evaluate(model, batches, device, on_batch=told)
    model.cpu()  # the next network needs the room
    if not bool(torch.isfinite(logits).all()):
        why = "it answers an image with something that is no finite number"
        raise UserError(f"cannot judge {network.folder}", why, "Train it again with a lower --lr")
    return pixels, logits, exits


class _ContiguousBatches(EvalBatches):
    """Batches in the usual memory format."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in super().__iter__():
            yield images.contiguous(), labels
