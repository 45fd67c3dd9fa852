"""How a table is told: the same words on a page, in a terminal and in a file."""

from __future__ import annotations

from collections.abc import Sequence

from leannet.measure import MACS_RULE, Interval
from leannet.papers.reproduce.drawings import dataset_title
from leannet.papers.reproduce.records import seeds_text
from leannet.papers.tables.evidence import Evidence
from leannet.papers.tables.rows import TableRow

__all__ = ["cells", "headings", "notes", "trained_text"]

GPU_TIMES = ("gpu_ms", "gpu1_ms")


def headings(rows: Sequence[TableRow]) -> tuple[str, ...]:
    """Return the headings of a table."""
    first = ["network", "data set", "params (M)", "ours (M)", "diff %", "MACs (M)", "ours (M)", "at px", "diff %"]
    first += ["top-1 %", "ours %", "95 % interval", "diff, points", "CPU ms", "x reference", "ours x"]
    return (*first, "GPU ms", "x reference", "ours x") if _has_gpu(rows) else tuple(first)


def cells(row: TableRow, rows: Sequence[TableRow]) -> tuple[str, ...]:
    """Return the cells of a row under `headings`; "-" where nothing is printed, run or comparable."""
    found = [row.network, dataset_title(row.dataset) if row.dataset else "-"]
    found += _count_cells(row, "params", row.params)
    macs = _count_cells(row, "macs", row.macs)
    found += [*macs[:2], str(row.img_size), macs[2]]
    printed, top1 = row.published.get("top1"), row.top1
    found.append("-" if printed is None else f"{printed.value:g}")
    found += ["-", "-"] if top1 is None else [f"{top1.value:.2f}", f"{top1.low:.2f} - {top1.high:.2f}"]
    found.append("-" if row.difference is None else f"{row.difference:+.2f}")
    found += _time_cells(row, ("cpu_ms",), "cpu")
    return tuple(found + (_time_cells(row, GPU_TIMES, "cuda") if _has_gpu(rows) else []))


def trained_text(evidence: Evidence) -> str:
    """Return how ours were trained, in words."""
    records = [record for found in evidence.records.values() for record in found]
    if not records:
        return f"nothing trained yet (budget {evidence.budget.name})"
    budgets = " or ".join(dict.fromkeys(record.budget for record in records))
    seeds = seeds_text(sorted({record.seed for record in records}))
    tested = f"tested on {records[0].test_images:,} images (budget {evidence.budget.name})"
    return f"{evidence.data_title}, {budgets}, {seeds}, {tested}"


def notes(evidence: Evidence, rows: Sequence[TableRow]) -> tuple[str, ...]:
    """Return what a reader of a table must know."""
    found = [MACS_RULE]
    methods = dict.fromkeys(row.top1.method for row in rows if row.top1)
    found += [f"Interval of accuracy: {method}." for method in methods]
    if any(row.top1 for row in rows) and not any(row.same_data for row in rows):
        found.append(
            f"Ours were trained on {evidence.data_title}, and the paper's on other data: their order may be compared, "
            "not the numbers."
        )
    if rows[0].table in evidence.experiment.quoted:
        found.append("The paper quotes these accuracies from others; they are not run.")
    timing = evidence.experiment.timing_of(rows[0].table)
    groups = [group for (name, _), group in evidence.times.items() if name == timing.name]
    taken = [f"ours: {group.circumstances}" for group in groups] or ["ours are not taken yet, or not in this way"]
    found.append(f"Times are multiples of that of {timing.reference}; {'; '.join(taken)}.")
    noted: dict[tuple[str, str], list[str]] = {}
    for figure in (figure for row in rows for figure in row.published.values() if figure.note):
        noted.setdefault((figure.quantity, figure.note), []).append(figure.network)
    for (quantity, note), networks in noted.items():
        found.append(f"{quantity} of {', '.join(dict.fromkeys(networks))}: {note}")
    return tuple(found)


def _has_gpu(rows: Sequence[TableRow]) -> bool:
    return any(name in row.published for row in rows for name in GPU_TIMES) or any("cuda" in row.ratio for row in rows)


def _count_cells(row: TableRow, quantity: str, ours: int) -> list[str]:
    printed = row.published.get(quantity)
    text = f"{ours / 1e6:.3f}" if quantity == "params" else f"{ours / 1e6:.1f}"
    if printed is None:
        return ["-", text, "-"]
    places = f"{printed.value / 1e6:.6f}".rstrip("0").rstrip(".")
    if printed.unit == "":
        text = f"{ours / 1e6:.6f}"
    return [places, text, f"{round(100 * (ours / printed.value - 1), 1) + 0.0:+.1f}"]


def _time_cells(row: TableRow, quantities: Sequence[str], device: str) -> list[str]:
    name = next((name for name in quantities if name in row.published), None)
    printed = ["-", "-"]
    if name is not None:
        multiple = row.published_ratio.get(name)
        printed = [f"{row.published[name].value:g}", "-" if multiple is None else f"{multiple:.2f}"]
    return [*printed, _ratio_text(row.ratio.get(device))]


def _ratio_text(ratio: Interval | None) -> str:
    return "-" if ratio is None else f"{ratio.value:.2f} ({ratio.low:.2f} - {ratio.high:.2f})"
