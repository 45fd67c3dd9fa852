"""Judge a saved network on a labelled split, and write down everything that came of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from leannet.data import SPLIT_SEED, EvalBatches, Pixels, Source, load_pixels, open_source
from leannet.data.split import some, split_word
from leannet.measure import measure_accuracy, measure_difference
from leannet.report.evaluation.files import begin_folder, write_evaluation
from leannet.report.evaluation.network import SavedNetwork, load_saved_network
from leannet.report.evaluation.predictions import Predictions
from leannet.report.evaluation.request import Evaluation
from leannet.report.evaluation.result import Comparison, EvaluationResult
from leannet.training import evaluate, make_accelerator
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
    source = _open(evaluation, network, observer)
    split = _choose_split(evaluation, source)
    notes = [*source.notes, *_check_classes(network, source.class_names)]
    if other is not None:
        notes += _check_classes(other, source.class_names)
    begin_folder(folder, evaluation)
    observer.data_ready(network, source, split, notes)

    judge = partial(_judge, evaluation=evaluation, source=source, split=split, device=device, observer=observer)
    pixels, logits = judge(network)
    labels = torch.from_numpy(pixels.split.labels)
    identifiers = pixels.split.identifiers()
    comparison = None
    predictions = Predictions.from_logits(logits, labels, identifiers)
    if other is not None:
        other_logits = judge(other)[1][:, _order(other, source.class_names)]
        other_predictions = Predictions.from_logits(other_logits, labels, identifiers)
        right = (torch.from_numpy(answers.correct) for answers in (predictions, other_predictions))
        difference = measure_difference(*right)
        sentence = difference.sentence(str(network.folder), str(other.folder))
        accuracy = measure_accuracy(other_logits, labels)
        comparison = Comparison(other, accuracy, other_predictions, difference, sentence)
    result = EvaluationResult(
        network=network,
        source=source,
        split_name=split,
        split=pixels.split,
        skipped=len(source.splits[split]) - len(pixels.split),
        class_names=source.class_names,
        accuracy=measure_accuracy(logits, labels),
        predictions=predictions,
        comparison=comparison,
        notes=(*notes, *pixels.notes),
    )
    write_evaluation(result, folder)
    return result


def _open(evaluation: Evaluation, network: SavedNetwork, observer: EvaluationObserver) -> Source:
    return open_source(
        evaluation.data,
        seed=SPLIT_SEED,
        bad_images=evaluation.bad_images,
        workers=evaluation.workers,
        progress=observer.reading,
        class_names=network.class_names,
        ignore_unknown_classes=evaluation.ignore_unknown_classes,
    )


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
) -> tuple[Pixels, Tensor]:
    """Return the images that could be read, and the logits of each; float32 of shape ``(N, C)``."""
    pixels = load_pixels(source, split, network.preprocessing)
    layout = torch.channels_last if evaluation.channels_last else torch.contiguous_format
    model = network.model.to(device).to(memory_format=layout)
    batches = (EvalBatches if evaluation.channels_last else _ContiguousBatches)(
        pixels, network.preprocessing, evaluation.batch_size
    )
    told = partial(observer.judging, network, len(pixels))
    told(0)
    logits = evaluate(model, batches, device, on_batch=told)
    model.cpu()  # the next network needs the room
    if not bool(torch.isfinite(logits).all()):
        why = "it answers an image with something that is no finite number"
        raise UserError(f"cannot judge {network.folder}", why, "Train it again with a lower --lr")
    return pixels, logits


class _ContiguousBatches(EvalBatches):
    """Batches in the usual memory format."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in super().__iter__():
            yield images.contiguous(), labels
