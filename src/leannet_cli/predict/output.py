"""How predictions are written: a table to read, or CSV, JSON and parquet to work with."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leannet_runtime.errors import UserError
from leannet_runtime.files import write_file, write_text

if TYPE_CHECKING:
    from leannet_runtime import Prediction

__all__ = ["FORMATS", "format_of", "print_table", "text_of", "write_predictions"]

FORMATS = ("table", "json", "csv", "parquet")


def format_of(given: str | None, output: Path | None) -> str:
    """Return the format that was asked for, by name or by the ending of the file.

    Raises:
        UserError: There is no such format, parquet has no file to go to, or its package is not installed.
    """
    if given is not None and given not in FORMATS:
        raise UserError(f"--format {given}", "not known", f"Choose one of {', '.join(FORMATS)}")
    ending = output.suffix.lower()[1:] if output is not None else ""
    chosen = given or (ending if ending in FORMATS else "table")
    if chosen == "parquet":
        if output is None:
            raise UserError("--format parquet", "it is no text to print", "Name a file with -o FILE.parquet")
        _check_parquet()
    return chosen


def _check_parquet() -> None:
    """Make sure that parquet files can be written, before any image is read."""
    try:
        import pyarrow.parquet  # type: ignore[import-untyped]  # noqa: F401
    except ImportError as error:
        remedy = "python -m pip install pyarrow, or pass --format csv"
        raise UserError("--format parquet", "pyarrow is not installed", remedy) from error


def write_predictions(path: Path, predictions: Sequence[Prediction], chosen: str, topk: int) -> None:
    """Write predictions to a file, whole or not at all.

    Raises:
        UserError: It cannot be written.
    """
    if chosen != "parquet":
        write_text(path, text_of(predictions, chosen, topk))
        return
    import pyarrow
    from pyarrow import parquet

    texts, numbers = pyarrow.string(), pyarrow.float64()
    kinds = {"exit": pyarrow.int64()} | {name: numbers for name in _columns(topk) if name.startswith("probability")}
    schema = pyarrow.schema([(name, kinds.get(name, texts)) for name in _columns(topk)])
    table = pyarrow.Table.from_pylist([_row(each, topk) for each in predictions], schema=schema)
    write_file(path, lambda temporary: parquet.write_table(table, temporary))


def text_of(predictions: Sequence[Prediction], chosen: str, topk: int) -> str:
    """Return predictions as a text that ends with a line feed.

    Args:
        predictions: At most `topk` classes each.
        chosen: "table", "json" or "csv".
        topk: How many columns of classes a CSV file has, however many classes there are.
    """
    if chosen == "table":
        from rich.console import Console

        from leannet_cli.console import WIDTH

        page = io.StringIO()
        print_table(Console(file=page, width=WIDTH, highlight=False, markup=False, emoji=False), predictions)
        return "".join(line.rstrip() + "\n" for line in page.getvalue().splitlines())
    if chosen == "json":
        return json.dumps([_record(each) for each in predictions], indent=2, ensure_ascii=False) + "\n"
    page = io.StringIO()
    writer = csv.DictWriter(page, _columns(topk), lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row(each, topk) for each in predictions)
    return page.getvalue()


def print_table(console: Any, predictions: Sequence[Prediction]) -> None:
    """Print an image a line: its label, how likely, what else it might be.

    Args:
        console: A console of rich.
        predictions: What is printed.
    """
    from rich.table import Table
    from rich.text import Text

    with_exits = any(each.exit is not None for each in predictions)
    more = any(len(each.labels) > 1 for each in predictions)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("image", no_wrap=True)
    table.add_column("label", no_wrap=True)
    table.add_column("%", justify="right", no_wrap=True)
    if with_exits:
        table.add_column("exit", justify="right", no_wrap=True)
    if more:
        table.add_column("then", no_wrap=True)
    for each in predictions:
        name = Text(_printable(each.name))
        if each.error is not None:
            table.add_row(name, Text(f"cannot read: {_printable(each.error)}", style="red"))
            continue
        shares = [f"{100 * probability:.1f}" for probability in each.probabilities]
        labels = [_printable(label) for label in each.labels]
        others = ", ".join(f"{label} {share}" for label, share in zip(labels[1:], shares[1:], strict=True))
        cells: list[Text | str] = [name, Text(labels[0]), shares[0]]
        if with_exits:
            cells.append(str(each.exit))
        if more:
            cells.append(Text(others))
        table.add_row(*cells)
    console.print(table)


def _record(prediction: Prediction) -> dict[str, Any]:
    return {
        "image": _text(prediction.name),
        "labels": [_text(label) for label in prediction.labels],
        "probabilities": [_short(probability) for probability in prediction.probabilities],
        "exit": prediction.exit,
        "error": None if prediction.error is None else _text(prediction.error),
    }


def _columns(topk: int) -> list[str]:
    pairs = [("label", "probability"), *((f"label_{n}", f"probability_{n}") for n in range(2, topk + 1))]
    return ["image", *(name for pair in pairs for name in pair), "exit", "error"]


def _row(prediction: Prediction, topk: int) -> dict[str, Any]:
    record = _record(prediction)
    names = iter(_columns(topk)[1:-2])
    row: dict[str, Any] = {"image": record["image"], "exit": record["exit"], "error": record["error"]}
    for label, probability in zip(record["labels"], record["probabilities"], strict=True):
        row[next(names)], row[next(names)] = label, probability
    return row


def _short(probability: float) -> float:
    """Round to the digits that a float32 has."""
    return float(f"{probability:.7g}")


def _text(name: str) -> str:
    """Return a name that can be written as UTF-8; file names may hold other bytes, and labels halves of letters."""
    return name.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _printable(name: str) -> str:
    """Return a name that does nothing to a terminal: names come from files of anybody."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in _text(name))
