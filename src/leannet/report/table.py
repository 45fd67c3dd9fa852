"""The table of a comparison: records of runs in, rows, CSV and JSON out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from leannet.measure import Interval, Latency, mean_interval
from leannet.report.runs import RunRecord
from leannet_runtime.files import write_csv, write_json

__all__ = ["PARETO_RULE", "ComparisonRow", "comparison_rows", "write_results"]

PARETO_RULE = (
    "on the Pareto front: no other network of this table is at least as accurate with at most as many MACs, and better "
    "in one of the two"
)


@dataclass(frozen=True)
class ComparisonRow:
    """One network: how well it answers and what it costs."""

    network: str
    top1: Interval
    """Percent of the held-out images."""

    seeds: tuple[int, ...]
    correct: tuple[int, ...]
    """Right answers of each seed."""

    total: int
    """Held-out images."""

    parameters: int
    macs: int
    latency: Latency | None
    images_per_second: float
    """Of training, mean over the seeds."""

    pareto: bool
    """`PARETO_RULE`."""


def comparison_rows(records: Sequence[RunRecord], latencies: Mapping[str, Latency]) -> list[ComparisonRow]:
    """Put the runs of each network together.

    Args:
        records: Finished runs, any number of seeds for each network.
        latencies: By network.

    Returns:
        A row for each network, the most accurate first; among equals the one with fewer MACs.
    """
    by_network: dict[str, list[RunRecord]] = {}
    for record in records:
        by_network.setdefault(record.network, []).append(record)
    # Exact: the mean of floats depends on the order of the seeds, and equals would not be equal.
    accuracies = {
        n: Fraction(sum(r.correct for r in runs), sum(r.total for r in runs)) for n, runs in by_network.items()
    }
    rows = [
        ComparisonRow(
            network=name,
            top1=mean_interval([run.top1 for run in runs], runs[0].total),
            seeds=tuple(run.seed for run in runs),
            correct=tuple(run.correct for run in runs),
            total=runs[0].total,
            parameters=runs[0].parameters,
            macs=runs[0].macs,
            latency=latencies.get(name),
            images_per_second=sum(run.images_per_second for run in runs) / len(runs),
            pareto=not any(
                _dominates(
                    (accuracies[other], others[0].macs),
                    (accuracies[name], runs[0].macs),
                )
                for other, others in by_network.items()
            ),
        )
        for name, runs in by_network.items()
    ]
    return sorted(rows, key=lambda row: (-accuracies[row.network], row.macs))


def _dominates(one: tuple[Fraction, int], other: tuple[Fraction, int]) -> bool:
    """Say whether (accuracy, MACs) is nowhere worse and somewhere better."""
    return one != other and one[0] >= other[0] and one[1] <= other[1]


def write_results(rows: Sequence[ComparisonRow], folder: Path, circumstances: Mapping[str, Any]) -> None:
    """Write ``results.csv`` (a line for each network) and ``results.json`` (everything that is known).

    Args:
        rows: From `comparison_rows`.
        folder: Where.
        circumstances: Data, recipe and notes, for the JSON file.
    """
    lines = [_flat(row) for row in rows]
    write_csv(folder / "results.csv", lines[0], (line.values() for line in lines))
    write_json(
        folder / "results.json",
        {"pareto_rule": PARETO_RULE, **circumstances, "rows": [asdict(row) for row in rows]},
    )


def _flat(row: ComparisonRow) -> dict[str, Any]:
    latency = row.latency
    return {
        "network": row.network,
        "top1": f"{row.top1.value:.3f}",
        "top1_low": f"{row.top1.low:.3f}",
        "top1_high": f"{row.top1.high:.3f}",
        "interval": row.top1.method,
        "seeds": " ".join(map(str, row.seeds)),
        "parameters": row.parameters,
        "macs": row.macs,
        "latency_median_ms": f"{latency.median_ms:.3f}" if latency else "",
        "latency_p90_ms": f"{latency.p90_ms:.3f}" if latency else "",
        "latency_threads": latency.threads if latency else "",
        "train_images_per_second": f"{row.images_per_second:.1f}",
        "pareto": int(row.pareto),
    }
