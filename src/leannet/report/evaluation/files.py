"""The files of an evaluation."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from leannet.measure import PREDICTION_COLUMNS, PREDICTIONS
from leannet.report.evaluation.confusion_picture import draw_confusion
from leannet.report.evaluation.contact_sheet import SHEET_IMAGES, draw_wrong_images
from leannet.report.evaluation.request import Evaluation
from leannet.report.evaluation.result import EvaluationResult
from leannet.training import environment
from leannet_runtime import UserError
from leannet_runtime.files import make_folder, write_csv, write_file, write_json, write_text

__all__ = ["evaluation_folder", "write_evaluation"]

ARGUMENTS, RESULTS = "args.yaml", "results.json"

FILES = (
    ARGUMENTS,
    "environment.json",
    PREDICTIONS,
    "per_class.csv",
    "confusion_matrix.csv",
    "confusion_matrix.svg",
    "confidently_wrong.csv",
    "confidently_wrong.png",
    RESULTS,
)

_PACKAGES = ("matplotlib", "scikit-learn", "scipy", "torchmetrics")


@contextlib.contextmanager
def evaluation_folder(folder: Path) -> Iterator[None]:
    """Make the folder of an evaluation before time is spent; where that fails, nothing of it stays.

    An earlier evaluation that lies there stays whole until `write_evaluation` begins.

    Raises:
        UserError: It cannot be written to, or holds a run of another kind.
    """
    was_there = folder.exists()
    make_folder(folder)
    if any((folder / name).exists() for name in (ARGUMENTS, RESULTS, "config.json")) and not _is_ours(folder):
        why = "a run of another kind lies in it"
        raise UserError(f"cannot write to {folder}", why, "Choose another --output")
    new = [folder / name for name in FILES if not (folder / name).exists()]
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            for path in new:  # by name: somebody else may write into a folder that was there
                path.unlink(missing_ok=True)
            if not was_there:
                folder.rmdir()
        raise


def _is_ours(folder: Path) -> bool:
    try:
        arguments = yaml.safe_load((folder / ARGUMENTS).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False
    return isinstance(arguments, dict) and arguments.get("verb") == "evaluate"


def write_evaluation(result: EvaluationResult, evaluation: Evaluation, folder: Path) -> None:
    """Write everything; ``results.json`` last, so that a folder that has it is a whole one.

    Raises:
        UserError: A file cannot be written.
    """
    (folder / RESULTS).unlink(missing_ok=True)
    write_text(folder / ARGUMENTS, yaml.safe_dump(evaluation.arguments(), sort_keys=False))
    described = environment()
    described["packages"] |= {name: metadata.version(name) for name in _PACKAGES}
    content = result.as_dict()
    write_json(folder / "environment.json", {**described, "data": content["data"]})
    names = result.class_names
    _write_predictions(result, folder)
    write_csv(
        folder / "per_class.csv",
        ("class", "images", "precision", "recall", "recall_low", "recall_high", "f1"),
        (
            (
                names[figures.label],
                figures.images,
                _percent(figures.precision),
                *(map(_percent, (recall.value, recall.low, recall.high)) if (recall := figures.recall) else [""] * 3),
                _percent(figures.f1),
            )
            for figures in result.accuracy.classes
        ),
    )
    write_csv(
        folder / "confusion_matrix.csv",
        ("true", *names),
        ((name, *row) for name, row in zip(names, result.accuracy.confusion.tolist(), strict=True)),
    )
    title = f"{result.source.name}, {result.split_name}: {len(result.split):,} images"
    picture = draw_confusion(result.accuracy.confusion, names, title)
    write_text(folder / "confusion_matrix.svg", picture)
    wrong = result.predictions.confidently_wrong()[:SHEET_IMAGES]
    sheet = draw_wrong_images(result.split, result.predictions, wrong, names)
    write_file(folder / "confidently_wrong.png", lambda path: sheet.save(path, "png"))
    write_json(folder / RESULTS, content)


def _write_predictions(result: EvaluationResult, folder: Path) -> None:
    """Write the answer to each image, and the wrong ones once more, the most confident first."""
    names, answers, second = result.class_names, result.predictions, result.comparison
    columns: tuple[str, ...] = PREDICTION_COLUMNS
    rows: list[tuple[Any, ...]] = list(answers.rows(names))
    write_csv(folder / "confidently_wrong.csv", columns[:-1], (rows[i][:-1] for i in answers.confidently_wrong()))
    if second is not None:
        columns = (*columns, "other_predicted", "other_probability", "other_correct")
        theirs = second.predictions
        others = (
            (names[theirs.predicted[i]], f"{theirs.probability[i]:.6g}", int(theirs.correct[i]))
            for i in range(len(theirs))
        )
        rows = [(*row, *other) for row, other in zip(rows, others, strict=True)]
    write_csv(folder / PREDICTIONS, columns, rows)


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
