"""The files of a bench."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from leannet.report.bench.request import BenchRequest
from leannet.report.bench.results import BenchResults, BenchTable
from leannet.training import environment
from leannet_runtime import UserError
from leannet_runtime.files import make_folder, write_csv, write_json, write_text

__all__ = ["FILES", "begin_folder", "write_results"]

ARGUMENTS, RESULTS = "args.yaml", "results.json"
FILES = (RESULTS, "results.csv", "rounds.csv", ARGUMENTS, "environment.json")

_SETTING = ("backend", "device", "threads", "batch_size", "img_size", "dtype", "channels_last", "cuda_graph")
_COLUMNS = (
    *_SETTING,
    "network",
    "num_classes",
    "parameters",
    "macs",
    "memory_bytes",
    "median_ms",
    "median_low",
    "median_high",
    "p90_ms",
    "p99_ms",
    "images_per_second",
    "calls",
    "stable",
    "reference",
    "ratio",
    "ratio_low",
    "ratio_high",
    "word",
)


def begin_folder(folder: Path, request: BenchRequest) -> None:
    """Make the folder with what is known before anything is timed.

    Raises:
        UserError: It cannot be written to, or holds a run of another kind, or a bench of something else.
    """
    make_folder(folder)
    if any((folder / name).exists() for name in (ARGUMENTS, RESULTS, "config.json")):
        earlier = _arguments(folder)
        if earlier.get("verb") != "bench":
            why = "a run of another kind lies in it"
            raise UserError(f"cannot write to {folder}", why, "Choose another --output")
        asked = request.arguments()
        if different := [name for name in asked if earlier.get(name) != asked[name]]:
            why = f"it was made with other {', '.join(different)}"
            raise UserError(f"{folder} holds another bench", why, "Choose another --output")
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
    write_text(folder / ARGUMENTS, yaml.safe_dump(request.arguments(), sort_keys=False))
    write_json(folder / "environment.json", environment())


def _arguments(folder: Path) -> dict[str, Any]:
    try:
        arguments = yaml.safe_load((folder / ARGUMENTS).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return arguments if isinstance(arguments, dict) else {}


def write_results(results: BenchResults, folder: Path) -> None:
    """Write all tables so far: the records, a row for each network, and every timed call.

    Raises:
        UserError: A file cannot be written.
    """
    write_csv(folder / "results.csv", _COLUMNS, (row for table in results.tables for row in _rows(table)))
    columns = (*_SETTING, "round", "network", "ms")
    write_csv(folder / "rounds.csv", columns, (row for table in results.tables for row in _rounds(table)))
    write_json(folder / RESULTS, results.as_dict())


def _setting_cells(table: BenchTable, img_size: int) -> list[Any]:
    cells = {**vars(table.setting), "img_size": img_size}
    return [_cell(cells[name]) for name in _SETTING]


def _rows(table: BenchTable) -> list[list[Any]]:
    rows = []
    for facts, timing, memory in zip(table.facts, table.timings, table.memory_bytes, strict=True):
        median, ratio = timing.median_ms, timing.ratio
        compared: list[Any] = [""] * 5
        if ratio is not None:
            compared = [ratio.reference, ratio.interval.value, ratio.interval.low, ratio.interval.high, ratio.word]
        cells = [
            facts.network,
            facts.num_classes,
            facts.parameters,
            facts.macs,
            memory,
            median.value,
            median.low,
            median.high,
            timing.p90_ms,
            timing.p99_ms,
            timing.images_per_second,
            timing.calls,
            timing.stable,
            *compared,
        ]
        rows.append([*_setting_cells(table, facts.img_size), *map(_cell, cells)])
    return rows


def _rounds(table: BenchTable) -> list[list[Any]]:
    if table.times is None:
        return []
    return [
        [*_setting_cells(table, facts.img_size), number, facts.network, _cell(1000 * seconds)]
        for facts in table.facts
        for number, seconds in enumerate(table.times.seconds[facts.network], start=1)
    ]


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    return f"{value:.6g}" if isinstance(value, float) else value
