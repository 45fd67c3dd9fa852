"""The rows of a paper's table with ours beside them."""

from __future__ import annotations

from dataclasses import dataclass

from leannet.measure import Interval
from leannet.models import default_img_size
from leannet.papers.published import Figure, load_paper
from leannet.papers.tables.evidence import Evidence, count

__all__ = ["TableRow", "make_rows", "sizes_of"]


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """A network of a table, on one of its data sets."""

    table: str
    network: str
    dataset: str | None
    published: dict[str, Figure]
    """By quantity."""

    img_size: int
    """For which our MACs are counted, in pixels."""

    params: int
    macs: int
    top1: Interval | None
    """Ours, in percent, on the data that were trained on; None if there is no record, or the paper quotes its own."""

    same_data: bool
    """Whether ours were trained on the data set of this row, so that the difference means something."""

    published_ratio: dict[str, float]
    """Printed time as a multiple of the reference's, by quantity."""

    ratio: dict[str, Interval]
    """Ours, by device."""

    @property
    def difference(self) -> float | None:
        """Ours less the printed accuracy, in points; None where it would compare different data."""
        printed = self.published.get("top1")
        return self.top1.value - printed.value if self.top1 and printed and self.same_data else None


def sizes_of(network: str, figures: dict[str, Figure], img_size: int | None) -> tuple[int | None, int]:
    """Return for how many classes and pixels a network of a table is counted.

    Args:
        network: Its name.
        figures: Its printed figures, by quantity.
        img_size: Of the table; if None, what is printed, or the network's own.
    """
    classes = next((figures[name].num_classes for name in ("params", "macs", "top1") if name in figures), None)
    printed = next((figure.img_size for figure in figures.values() if figure.img_size), None)
    return classes, img_size or printed or default_img_size(network)


def make_rows(evidence: Evidence, table: str) -> tuple[TableRow, ...]:
    """Put ours beside the print, in the order of the paper.

    Args:
        evidence: What ours came to.
        table: One of `leannet.papers.tables.find_tables`.
    """
    experiment = evidence.experiment
    timing = experiment.timing_of(table)
    figures = [figure for figure in load_paper(experiment.paper).figures if figure.table == table]
    datasets = {figure.dataset for figure in figures if figure.dataset}
    groups: dict[tuple[str, str | None], dict[str, Figure]] = {}
    for figure in figures:
        # A count that is printed without a data set stands beside the accuracy on the only one of its table.
        dataset = figure.dataset or (next(iter(datasets)) if len(datasets) == 1 else None)
        groups.setdefault((figure.network, dataset), {})[figure.quantity] = figure
    rows = []
    for (network, dataset), published in groups.items():
        classes, img_size = sizes_of(network, published, timing.img_size)
        params, macs = count(network, classes, img_size)
        of_reference = next((group for (name, _), group in groups.items() if name == timing.reference), {})
        ratios = {device: evidence.ratio(network, timing.reference, timing, device) for device in ("cpu", "cuda")}
        rows.append(
            TableRow(
                table=table,
                network=network,
                dataset=dataset,
                published=published,
                img_size=img_size,
                params=params,
                macs=macs,
                top1=_ours(evidence, table, network, dataset, datasets),
                same_data=dataset is not None and dataset == evidence.dataset,
                published_ratio={
                    name: figure.value / of_reference[name].value
                    for name, figure in published.items()
                    if name.endswith("_ms") and name in of_reference
                },
                ratio={device: found for device, found in ratios.items() if found is not None},
            )
        )
    return tuple(rows)


def _ours(evidence: Evidence, table: str, network: str, dataset: str | None, datasets: set[str]) -> Interval | None:
    """Return our accuracy for a row; on other data than the paper's it stands in every row of the network."""
    elsewhere = evidence.dataset not in datasets
    if not datasets or table in evidence.experiment.quoted or not (elsewhere or dataset == evidence.dataset):
        return None
    return evidence.top1(network)
