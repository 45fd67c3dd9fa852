"""What a bench ends with."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from leannet.measure import MACS_RULE
from leannet.measure.bench import LEAST_ROUNDS, ROUNDS_RULE, SCALING_RULE
from leannet.report.bench.files import FILES
from leannet.report.bench.notes import circumstances_text, warnings_of
from leannet.report.bench.results import MEMORY_RULE, RATIO_RULE
from leannet_cli.console import make_console
from leannet_cli.numbers import bytes_text, count_text

if TYPE_CHECKING:
    from leannet.measure.bench import Scaling, Timing
    from leannet.report.bench import BenchResults, BenchTable

__all__ = ["print_bench"]

HEADINGS = ("px", "MACs", "memory", "median ms", "95 % interval", "p90", "p99", "images/s", "ratio", "95 % interval")
LEFT_OUT = ("px", "memory", "p90", "p99", "images/s")
WIDE = 140  # columns of a terminal, below which those are left out
COLOURS = {"faster": "green", "slower": "red"}


def print_bench(results: BenchResults, folder: Path) -> None:
    """Print each table with its notes, the rules, and where the files are."""
    console = make_console()
    console.print(results.cpu.sentence())
    for table in results.tables:
        _print_table(console, table)
    rules = [ROUNDS_RULE, RATIO_RULE, MEMORY_RULE, MACS_RULE]
    if any(table.scaling for table in results.tables):
        rules.append(SCALING_RULE)
    console.print()
    for rule in rules:
        console.print(rule)
    console.print(f"\nWritten to {folder}: {', '.join(FILES)}")


def _print_table(console: Console, table: BenchTable) -> None:
    console.print(f"\n{table.setting.title()}", style="bold")
    if table.timings:
        narrow = console.is_terminal and shutil.get_terminal_size().columns < WIDE
        drawn = Table(box=None, pad_edge=False, header_style="bold")
        drawn.add_column("network", no_wrap=True)
        for heading in HEADINGS:
            drawn.add_column(heading, justify="right", no_wrap=True)
        drawn.add_column("", no_wrap=True)
        for facts, timing, memory in zip(table.facts, table.timings, table.memory_bytes, strict=True):
            median = timing.median_ms
            drawn.add_row(
                facts.network,
                str(facts.img_size),
                count_text(facts.macs),
                bytes_text(memory),
                _ms(median.value),
                f"{_ms(median.low)} - {_ms(median.high)}" if timing.calls >= LEAST_ROUNDS else "-",
                _ms(timing.p90_ms),
                _ms(timing.p99_ms),
                f"{timing.images_per_second:.1f}",
                *_ratio_cells(timing, table.reference),
            )
        if narrow:  # the files have the rest
            drawn.columns = [column for column in drawn.columns if column.header not in LEFT_OUT]
        console.print(drawn)
    record = table.as_dict()
    console.print(circumstances_text(record))
    for text in warnings_of(record):
        console.print(text, style="yellow")
    if table.scaling is not None:
        console.print(_scaling_text(table.scaling))


def _ratio_cells(timing: Timing, reference: str | None) -> tuple[str, str, str | Text]:
    if timing.ratio is None:
        return "", "", "reference" if timing.network == reference else ""
    interval, word = timing.ratio.interval, timing.ratio.word
    said = Text(word, style=COLOURS.get(word, ""))
    ends = f"{interval.low:.3f} - {interval.high:.3f}" if timing.ratio.rounds >= LEAST_ROUNDS else "-"
    return f"{interval.value:.3f}", ends, said


def _scaling_text(scaling: Scaling) -> str:
    rank, exponent = scaling.rank_correlation, scaling.exponent
    return (
        f"MACs beside time, {scaling.networks} networks: rank correlation {rank.value:.2f} "
        f"({rank.low:.2f} to {rank.high:.2f}, p = {scaling.p_value:.2g}), exponent {exponent.value:.2f} "
        f"({exponent.low:.2f} to {exponent.high:.2f}): {scaling.word}."
    )


def _ms(value: float) -> str:
    return f"{value:.{2 if value >= 10 else 3}f}"
