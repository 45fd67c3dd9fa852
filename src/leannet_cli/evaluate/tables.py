"""The tables that an evaluation ends with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from leannet.data.split import some
from leannet_cli.numbers import count_text

if TYPE_CHECKING:
    from leannet.measure import Accuracy, ClassAccuracy, Interval
    from leannet.report.evaluation import EvaluationResult

__all__ = ["print_evaluation"]

FIGURES = {
    "top1": "top-1 %",
    "top5": "top-5 %",
    "balanced_accuracy": "balanced accuracy %",
    "macro_f1": "macro F1 %",
    "loss": "loss",
    "calibration_error": "calibration error %",
}

# Of a longer table, the worst classes are what one looks for.
MOST_CLASSES = 20
WORST_CLASSES = 10

WRONG_IMAGES = 5


def print_evaluation(console: Console, result: EvaluationResult) -> None:
    """Print the figures, the classes, the most confidently wrong images, and the comparison if there is one."""
    _print_figures(console, result)
    _print_exits(console, result)
    _print_classes(console, result)
    _print_wrong(console, result)
    if result.comparison is not None:
        difference = result.comparison.difference
        console.print(f"\n{result.comparison.sentence}")
        console.print(
            f"{difference.only_first:,} images only {result.network.folder} gets right, {difference.only_second:,} "
            f"only {result.comparison.network.folder}."
        )


def _table() -> Table:
    return Table(box=None, pad_edge=False, header_style="bold")


def _print_figures(console: Console, result: EvaluationResult) -> None:
    console.print(str(result.network.folder), style="bold")
    console.print(_figures_table(result.accuracy))
    if result.comparison is not None:
        console.print(f"\n{result.comparison.network.folder}", style="bold")
        console.print(_figures_table(result.comparison.accuracy))
    console.print()
    for method, headings in _methods(result.accuracy).items():
        console.print(f"Interval of {', '.join(headings)}: {method}.")
    names = [result.class_names[label] for label in result.accuracy.without_images]
    if names:
        console.print(f"Balanced accuracy and macro F1 leave out classes without images: {some(names)}.")
    if result.skipped:
        total = result.skipped + len(result.split)
        console.print(f"Left out, since they cannot be read: {result.skipped:,} of {total:,} images.")
    if result.accuracy.top5 is None:
        console.print("No top-5: there are not more than five classes.")


def _figures_table(accuracy: Accuracy) -> Table:
    table = _table()
    table.add_column("figure", no_wrap=True)
    for heading in ("value", "95 % interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, heading in FIGURES.items():
        interval: Interval | None = getattr(accuracy, name)
        if interval is not None:
            digits = 3 if name == "loss" else 2
            ends = f"{interval.low:.{digits}f} - {interval.high:.{digits}f}"
            table.add_row(heading, f"{interval.value:.{digits}f}", ends)
    return table


def _methods(accuracy: Accuracy) -> dict[str, list[str]]:
    """Return which figures have their interval by which method."""
    methods: dict[str, list[str]] = {}
    for name, heading in FIGURES.items():
        interval: Interval | None = getattr(accuracy, name)
        if interval is not None:
            methods.setdefault(interval.method, []).append(heading.removesuffix(" %"))
    return methods


def _print_exits(console: Console, result: EvaluationResult) -> None:
    """Print what each exit of the first network came to; nothing of a network without exits."""
    if result.exits is None:
        return
    table = _table()
    table.add_column("exit", no_wrap=True)
    for heading in ("leave here %", "top-1 % of these", "top-1 % if all did", "95 % interval", "MACs"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in result.exits.rows:
        table.add_row(
            str(row.exit),
            "-" if row.share is None else f"{row.share:.1f}",
            "-" if row.top1_of_leaving is None else f"{row.top1_of_leaving.value:.2f}",
            f"{row.top1.value:.2f}",
            f"{row.top1.low:.2f} - {row.top1.high:.2f}",
            count_text(row.macs),
        )
    console.print()
    console.print(table)
    how = "as calibrated" if result.exits.policy else "nobody leaves before the end"
    console.print(
        f"An image costs {count_text(result.exits.mean_macs)} MACs in the mean ({how}); all exits together: "
        f"top-1 {result.exits.ensemble.value:.2f} %."
    )


def _print_classes(console: Console, result: EvaluationResult) -> None:
    classes = result.accuracy.classes
    if len(classes) > MOST_CLASSES:
        there = [figures for figures in classes if figures.images]
        shown = sorted(there, key=lambda figures: (figures.f1 or 0, figures.label))[:WORST_CLASSES]
        heading = f"class (the {len(shown)} worst of {len(classes)}, by F1)"
    else:
        shown, heading = list(classes), "class"
    table = _table()
    table.add_column(heading, no_wrap=True)
    for column in ("images", "precision %", "recall %", "95 % interval", "F1 %"):
        table.add_column(column, justify="right", no_wrap=True)
    for figures in shown:
        table.add_row(result.class_names[figures.label], *_class_cells(figures))
    console.print()
    console.print(table)


def _class_cells(figures: ClassAccuracy) -> list[str]:
    recall = figures.recall
    return [
        f"{figures.images:,}",
        "-" if figures.precision is None else f"{figures.precision:.2f}",
        "-" if recall is None else f"{recall.value:.2f}",
        "-" if recall is None else f"{recall.low:.2f} - {recall.high:.2f}",
        "-" if figures.f1 is None else f"{figures.f1:.2f}",
    ]


def _print_wrong(console: Console, result: EvaluationResult) -> None:
    answers = result.predictions
    wrong = answers.confidently_wrong()[:WRONG_IMAGES]
    if not len(wrong):
        console.print("\nNo image was answered wrongly.")
        return
    table = _table()
    for column in ("most confidently wrong", "label", "answer"):
        table.add_column(column, no_wrap=True)
    table.add_column("probability %", justify="right", no_wrap=True)
    for position in wrong:
        label, predicted = (result.class_names[classes[position]] for classes in (answers.labels, answers.predicted))
        table.add_row(answers.identifiers[position], label, predicted, f"{100 * answers.probability[position]:.2f}")
    console.print()
    console.print(table)
