"""How a reproduction is told: the same words on a page, in a terminal and in a table of text."""

from __future__ import annotations

from leannet.papers.reproduce.drawings import dataset_title
from leannet.papers.reproduce.reproduction import Row
from leannet.papers.reproduce.verdicts import Comparison, Verdict

__all__ = ["HEADINGS", "claim_text", "comparison_text", "plotted_text", "row_cells"]

HEADINGS = (
    "network",
    "exit",
    "published MACs (M)",
    "ours (M)",
    "difference %",
    "published top-1 %",
    "ours %",
    "95 % interval",
    "difference, points",
    "seed",
)


def row_cells(row: Row, name: str) -> tuple[str, ...]:
    """Return the cells of a row under `HEADINGS`; "-" where there is no record.

    Args:
        row: The point.
        name: What the network is called.
    """
    macs, top1 = f"{row.macs.value / 1e6:.0f}", f"{row.top1.value:.1f}"
    if row.ours is None:
        return (name, row.exit_name, macs, "-", "-", top1, "-", "-", "-", "-")
    ours = row.ours.top1
    return (
        name,
        row.exit_name,
        macs,
        f"{row.ours.macs / 1e6:.1f}",
        f"{100 * (row.ours.macs / row.macs.value - 1):+.1f}",
        top1,
        f"{ours.value:.2f}",
        f"{ours.low:.2f} - {ours.high:.2f}",
        f"{ours.value - row.top1.value:+.2f}",
        str(row.seed),
    )


def claim_text(verdict: Verdict) -> str:
    """Return the claim with its numbers, its data set and its place in the paper."""
    claim = verdict.claim
    printed = f": {' to '.join(f'{number:+g}' for number in claim.printed)} {claim.unit}" if claim.printed else ""
    several = len(claim.datasets) > 1
    over = f", the range over {' and '.join(map(dataset_title, claim.datasets))}" if several else ""
    return f"{claim.says}, {dataset_title(verdict.dataset)}{printed} ({claim.where}{over})"


def plotted_text(verdict: Verdict) -> str:
    """Return what the published points show; empty if they show nothing."""
    if verdict.plotted is None:
        return ""
    low, high = (f"{number:+.1f}" for number in verdict.plotted)
    return f"{low if low == high else f'{low} to {high}'} {verdict.claim.unit}"


def comparison_text(verdict: Verdict, comparison: Comparison) -> str:
    """Return how far ours lie apart at one exit."""
    unit = verdict.claim.unit
    about = "gates closed to open" if verdict.claim.quantity == "macs" else "95 % interval"
    if comparison.low == comparison.high:
        return f"{comparison.where}: {comparison.value:+.2f} {unit}"
    ends = f"{comparison.low:+.2f} to {comparison.high:+.2f}"
    return f"{comparison.where}: {comparison.value:+.2f} {unit} ({about} {ends})"
