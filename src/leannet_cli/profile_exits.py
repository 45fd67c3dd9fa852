"""What the exits of a network cost: counted, measured on images, and printed by papers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leannet_runtime.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console
    from torch import nn

__all__ = ["measure_gates", "print_exits", "profile_exits"]

BATCH_SIZE = 128
ENSEMBLE = "ensemble"


def measure_gates(model: nn.Module, folder: Path, data: str, img_size: int) -> dict[str, Any]:
    """Measure how far the gates of a network are open.

    Args:
        model: With the weights in the folder.
        folder: Its model folder.
        data: Images, see `leannet.data.open_source`; their test part is taken, or validation, or what there is.
        img_size: Side of the images in pixels.

    Returns:
        "open": share of open gates by layer; "data", "split" and "images": measured on what.

    Raises:
        UserError: The network has no gates, or the images do not fit it or cannot be read.
    """
    from leannet.data import EvalBatches, load_pixels
    from leannet.models import ExitLogits, GateMeter, read_model_config
    from leannet.training import evaluate, make_accelerator
    from leannet.training.runs import open_run_source
    from leannet_cli.console import ProgressOnErrorStream
    from leannet_runtime import Preprocessing

    meter = GateMeter(model)
    if not meter.layers:
        raise UserError(f"--data with {folder}", "it has no gates that could be open or closed", "Leave --data away")
    preprocessing = Preprocessing.from_pretrained_cfg(read_model_config(folder)["pretrained_cfg"])
    preprocessing = replace(preprocessing, img_size=img_size)
    device = make_accelerator().device
    with ProgressOnErrorStream() as progress:
        bar = progress.bars.add_task("", note="", visible=False)

        def reading(done: int, total: int) -> None:
            progress.bars.update(bar, description="reading images", completed=done, total=total, visible=True)

        source = open_run_source(folder, data, progress=reading)
        part = next((name for name in ("test", "validation") if name in source.splits), next(iter(source.splits)))
        pixels = load_pixels(source, part, preprocessing)

        def judging(done: int) -> None:
            progress.bars.update(bar, description="measuring gates", completed=done, total=len(pixels), visible=True)

        batches = EvalBatches(pixels, preprocessing, BATCH_SIZE)
        with meter:
            evaluate(ExitLogits(model).to(device), batches, device, on_batch=judging)
    model.cpu()
    shares = {layer: opened / max(decided, 1) for layer, (opened, decided) in meter.counts().items()}
    return {"open": shares, "data": source.name, "split": part, "images": len(pixels)}


def profile_exits(
    model: nn.Module, name: str, img_size: int, gates_open: Mapping[str, float] | None = None
) -> list[dict[str, Any]]:
    """Count what an image costs that leaves at each exit.

    Args:
        model: On the CPU.
        name: Name of the network, by which papers are searched.
        img_size: Side of the images in pixels.
        gates_open: Share of open gates by layer, where it was measured.

    Returns:
        A row for each exit, and one for the joint answer of all if a paper prints its cost: "exit", "macs_closed" and
        "macs_open" (all gates closed, open), "macs_measured" if `gates_open` is given, "published". No rows for a
        network without exits.
    """
    from leannet.models import count_exit_macs, has_exits

    if not has_exits(model):
        return []
    macs = count_exit_macs(model, img_size)
    measured = None if gates_open is None else macs.mean(gates_open)
    last = len(macs.open) - 1
    rows = []
    exits: list[tuple[int | str, int]] = [(index + 1, index) for index in range(last + 1)]
    for exit_name, index in [*exits, (ENSEMBLE, last)]:
        row: dict[str, Any] = {"exit": exit_name, "macs_closed": macs.closed[index], "macs_open": macs.open[index]}
        if measured is not None:
            row["macs_measured"] = measured[index]
        classes = int(getattr(model, "num_classes", 0))
        row["published"] = _published(name, exit_name, classes, img_size, row.get("macs_measured", row["macs_open"]))
        if exit_name != ENSEMBLE or row["published"]:
            rows.append(row)
    return rows


def _published(name: str, exit_name: int | str, classes: int, img_size: int, ours: float) -> list[dict[str, Any]]:
    """Return the MACs that papers print of an exit, with the difference of ours in percent."""
    from leannet.papers import difference_percent, published

    return [
        {
            "printed": f"{figure.printed} {figure.unit}".strip() if figure.printed else f"{figure.value / 1e6:g} M",
            "value": figure.value,
            "paper": figure.paper,
            "table": figure.table,
            "difference_percent": round(difference_percent(ours, figure), 3),
        }
        for figure in published(name, "macs")
        if figure.exit == exit_name and figure.num_classes in (None, classes) and figure.img_size in (None, img_size)
    ]


def print_exits(
    console: Console, name: str, rows: Sequence[Mapping[str, Any]], gates: Mapping[str, Any] | None = None
) -> None:
    """Print the rows of `profile_exits`.

    Args:
        console: Where to.
        name: What the network is called.
        rows: From `profile_exits`.
        gates: From `measure_gates`, if they were measured.
    """
    from rich.table import Table

    from leannet_cli.numbers import count_text

    has_gates = any(row["macs_closed"] != row["macs_open"] for row in rows)
    columns = {"macs_closed": "MACs, gates closed", "macs_open": "gates open"} if has_gates else {"macs_open": "MACs"}
    if gates is not None:
        columns["macs_measured"] = "as measured"
    figures = [figure for row in rows for figure in row["published"]]
    table = Table(box=None, pad_edge=False, header_style="bold", title=name, title_justify="left")
    for heading in ("exit", *columns.values(), *(("printed", "ours") if figures else ())):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        cells = [str(row["exit"]), *(count_text(row[column]) for column in columns)]
        for figure in row["published"] or [None] * bool(figures):
            more = ("", "") if figure is None else (figure["printed"], f"{figure['difference_percent']:+.2f} %")
            table.add_row(*cells, *more)
        if not figures:
            table.add_row(*cells)
    console.print()
    console.print(table)
    if gates is not None:
        mean = sum(gates["open"].values()) / len(gates["open"])
        console.print(
            f"{name}: {100 * mean:.1f} % of the gates open in the mean of {len(gates['open'])} layers, "
            f"on {gates['images']:,} images of the {gates['split']} part of {gates['data']}"
        )
    for source in dict.fromkeys(f"{figure['paper']}: {figure['table']}" for figure in figures):
        ours = f"; ours with gates {'open' if gates is None else 'as measured'}" if has_gates else ""
        console.print(f"{name}: printed in {source}{ours}")
