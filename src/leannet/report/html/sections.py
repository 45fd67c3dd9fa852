"""What stands in the report: the records put together, with everything that is shown as text or as a figure."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image

from leannet.measure import mean_interval, measure_difference, newcombe_interval
from leannet.page import Figure, Style, data_uri, style_of
from leannet.report.html.class_plots import (
    MOST_COLUMNS,
    Matrices,
    class_figure,
    class_rows,
    confusion_figures,
    confusion_rows,
    confusions,
)
from leannet.report.html.cost_plots import cost_figures
from leannet.report.html.curve_plots import curve_figures
from leannet.report.html.front import pareto_front
from leannet.report.html.pictures import SMALL
from leannet.report.html.records import Answers, Judged, NetworkRecord, Picture, RunRecords, Timing

__all__ = ["Card", "Row", "Section", "differences_from_the_best", "sections"]

MOST_DIFFERENCES = 12


@dataclass(frozen=True)
class Card:
    """A picture with what each network takes it for."""

    address: str
    small: bool
    image: str
    truth: str
    answers: tuple[tuple[str, str, bool], ...]
    """Network, answer, whether it is right."""


@dataclass(frozen=True)
class Row:
    """A row of the table."""

    network: NetworkRecord
    timing: Timing | None
    front: bool


@dataclass(frozen=True)
class Section:
    """Networks that were judged on the same images."""

    name: str
    title: str
    rows: tuple[Row, ...]
    facts: tuple[tuple[str, str, str], ...]
    """Label, value, and what more there is to say."""

    costs: tuple[Figure, ...]
    curves: tuple[Figure, ...]
    classes: tuple[Figure, ...]
    class_rows: tuple[tuple[str, tuple[float, ...]], ...]
    """What that figure draws: a class with the accuracy in percent of each of `answering`."""

    answering: tuple[str, ...]
    """The most accurate networks."""

    matrices: tuple[Figure, ...]
    confusion_rows: tuple[tuple[str, str, str, int], ...]
    """Network, true class, answer and how often; the most frequent ones."""

    differences: tuple[str, ...]
    cards: tuple[Card, ...]
    sheets: tuple[str, ...]
    missing: tuple[str, ...]


def sections(runs: Sequence[RunRecords]) -> list[Section]:
    """Put together what was judged on the same images, in the order of the runs."""
    groups: dict[Judged | None, list[RunRecords]] = {}
    for run in runs:
        if run.networks:
            groups.setdefault(run.judged, []).append(run)
    return [_section(f"part{n}", judged, group, runs) for n, (judged, group) in enumerate(groups.items(), start=1)]


def _section(name: str, judged: Judged | None, runs: Sequence[RunRecords], all_runs: Sequence[RunRecords]) -> Section:
    timed = [replace(run, networks=tuple(_timed(each, all_runs) for each in run.networks)) for run in runs]
    runs = _told_apart(timed)
    networks = [network for run in runs for network in run.networks]
    networks.sort(key=lambda network: -network.top1.value if network.top1 else 0.0)
    styles = {network.name: style_of(number) for number, network in enumerate(networks)}
    answers = [each for run in runs for each in run.answers]
    answers.sort(key=lambda each: list(styles).index(each.network))
    classes: tuple[Figure, ...] = ()
    matrices: tuple[Figure, ...] = ()
    found: Matrices = {}
    alike: Matrices = {}
    missing = [f"{run.folder}: {text}." for run in runs for text in run.missing]
    if answers and judged is not None:
        found = confusions(answers, len(judged.classes))
        images = next(iter(found.values()))[0].sum(axis=1)
        alike = {network: of_seeds for network, of_seeds in found.items() if (of_seeds.sum(axis=2) == images).all()}
        classes = (class_figure(alike, judged.classes, styles, f"{name}-classes"),)
        if others := ", ".join(network for network in found if network not in alike):
            missing.append(f"Accuracy on each class of {others}: judged on other numbers of images of the classes.")
        matrices = tuple(confusion_figures(found, judged.classes, f"{name}-confusion"))
        if len(matrices) < len(found):
            missing.append(f"Confusion matrices of {len(matrices)} of {len(found)} networks are shown.")
    if len({run.fingerprint for run in runs}) > 1:
        missing.append(
            "The runs do not name the same fingerprint of the data: their training parts were divided differently, or "
            "their images differ."
        )
    rows = _rows(networks)
    return Section(
        name=name,
        title=judged.title() if judged else "Trained without a part to be judged on",
        rows=rows,
        facts=tuple(_facts(rows)),
        costs=tuple(cost_figures(networks, styles, name)),
        curves=tuple(curve_figures([curve for run in runs for curve in run.curves], styles, name)),
        classes=classes,
        class_rows=tuple(class_rows(alike, judged.classes)) if alike and judged else (),
        answering=tuple(alike)[:MOST_COLUMNS],
        matrices=matrices,
        confusion_rows=tuple(confusion_rows(found, judged.classes)) if found and judged else (),
        differences=tuple(differences_from_the_best(answers)),
        cards=tuple(card for run in runs for card in _cards(run, judged)),
        sheets=tuple(_sheet(run.sheet) for run in runs if run.sheet),
        missing=tuple(missing),
    )


def _told_apart(runs: Sequence[RunRecords]) -> list[RunRecords]:
    """Put the folder behind the names of networks that several runs have; as much of it as tells them apart."""
    names = [network.name for run in runs for network in run.networks]
    twice = {name for name in names if names.count(name) > 1}
    folders = [run.folder.resolve().name for run in runs]
    short = len(set(folders)) == len(folders)

    def called(name: str, run: RunRecords) -> str:
        return f"{name} ({run.folder.resolve().name if short else run.folder})" if name in twice else name

    return [
        replace(
            run,
            networks=tuple(replace(each, name=called(each.name, run)) for each in run.networks),
            curves=tuple(replace(each, network=called(each.network, run)) for each in run.curves),
            answers=tuple(replace(each, network=called(each.network, run)) for each in run.answers),
        )
        for run in runs
    ]


def _timed(network: NetworkRecord, runs: Sequence[RunRecords]) -> NetworkRecord:
    """Add the times that a bench took of the same network: of its name or from its folder, with the same costs."""
    more = [
        row.timing
        for run in runs
        for row in run.timed
        if (row.parameters, row.macs) == (network.parameters, network.macs)
        and (row.network == network.name or _lies_in_run(Path(row.network), network))
    ]
    return replace(network, timings=(*network.timings, *more))


def _lies_in_run(folder: Path, network: NetworkRecord) -> bool:
    """Say whether a folder is one that the run of a network wrote for it; a comparison has one for each network."""
    folder, run = folder.resolve(), network.run.resolve()
    among_others = run / "networks"
    place = among_others / network.name.replace("/", "_") if folder.is_relative_to(among_others) else run
    return folder.is_relative_to(place)


def _rows(networks: Sequence[NetworkRecord]) -> tuple[Row, ...]:
    counted = [network for network in networks if network.top1 and network.macs is not None]
    front = pareto_front([(network.macs or 0, network.top1.value if network.top1 else 0.0) for network in counted])
    names = {counted[index].name for index in front} if len(counted) > 1 else set()
    return tuple(
        Row(network, network.timings[0] if network.timings else None, network.name in names) for network in networks
    )


def _facts(rows: Sequence[Row]) -> Iterator[tuple[str, str, str]]:
    """Yield what a reader wants to know first; of a single network there is nothing to choose."""
    judged = [row.network for row in rows if row.network.top1]
    if judged and (top1 := judged[0].top1):
        label = "most accurate" if len(judged) > 1 else "top-1 accuracy"
        yield label, f"{top1.value:.2f} %", f"{judged[0].name} ({top1.low:.2f} to {top1.high:.2f})"
    counted = [row.network for row in rows if row.network.macs is not None]
    if counted:
        least = min(counted, key=lambda network: network.macs or 0)
        yield "fewest MACs" if len(counted) > 1 else "MACs", f"{(least.macs or 0) / 1e6:,.2f} M", least.name
        least = min(counted, key=lambda network: network.parameters or 0)
        label = "fewest parameters" if len(counted) > 1 else "parameters"
        yield label, f"{(least.parameters or 0) / 1e6:,.2f} M", least.name
    timed = [(row.timing.median_ms, row.network.name) for row in rows if row.timing]
    if timed:
        fastest = min(timed)
        yield "fastest" if len(timed) > 1 else "median latency", f"{fastest[0]:.2f} ms", fastest[1]


def differences_from_the_best(answers: Sequence[Answers]) -> Iterator[str]:
    """Yield whether the most accurate network is better than each of the others."""
    by_network: dict[str, list[Answers]] = {}
    for each in answers:
        by_network.setdefault(each.network, []).append(each)
    if not by_network:
        return
    best, *others = by_network.values()
    for other in others[:MOST_DIFFERENCES]:
        if any(each.images != best[0].images for each in (*best, *other)):
            continue
        if min(len(best), len(other)) > 1:
            yield _difference_of_means(best, other)
        else:
            right = [torch.from_numpy(some[0].predicted == some[0].labels) for some in (best, other)]
            names, found = (_called(best[0]), _called(other[0])), measure_difference(*right)
            yield f"{'' if found.shown else f'{names[0]} and {names[1]}: '}{found.sentence(*names)}"


def _difference_of_means(first: Sequence[Answers], second: Sequence[Answers]) -> str:
    """Say whether the mean of the seeds of one network lies above that of another."""
    means = (mean_interval([each.top1 for each in some], len(some[0].images)) for some in (first, second))
    found = newcombe_interval(*means)
    seeds = f"means of {len(first)} and {len(second)} seeds"
    if found.low <= 0 <= found.high:
        ends = f"95 % interval {found.low:+.2f} to {found.high:+.2f}"
        both = f"{first[0].network} and {second[0].network}"
        return f"{both}: no difference shown, {found.value:+.2f} points ({ends}; {seeds})"
    ahead, behind = (first, second) if found.value > 0 else (second, first)
    ends = " to ".join(f"{end:.2f}" for end in sorted((abs(found.low), abs(found.high))))
    return (
        f"{ahead[0].network} is better than {behind[0].network} by {abs(found.value):.2f} points "
        f"(95 % interval {ends}; {seeds})"
    )


def _called(answers: Answers) -> str:
    return answers.network if answers.seed is None else f"{answers.network} (seed {answers.seed})"


def _cards(run: RunRecords, judged: Judged | None) -> Iterator[Card]:
    first: dict[str, Answers] = {}
    for each in run.answers:
        first.setdefault(each.network, each)
    places = {network: {image: n for n, image in enumerate(each.images)} for network, each in first.items()}
    for picture in run.pictures:
        known = {network: place[picture.image] for network, place in places.items() if picture.image in place}
        if known and judged is not None:
            network, place = next(iter(known.items()))
            yield _card(picture, judged.classes[first[network].labels[place]], known, first, judged.classes)


def _card(
    picture: Picture, truth: str, places: Mapping[str, int], answers: Mapping[str, Answers], classes: Sequence[str]
) -> Card:
    said = []
    for network, place in places.items():
        each = answers[network]
        text = f"{classes[each.predicted[place]]} ({100 * each.probability[place]:.0f}\N{NO-BREAK SPACE}%)"
        said.append((network, text, bool(each.predicted[place] == each.labels[place])))
    with Image.open(picture.file) as image:
        small = max(image.size) <= SMALL
    kind = "image/png" if picture.file.suffix == ".png" else "image/jpeg"
    return Card(data_uri(picture.file.read_bytes(), kind), small, picture.image, truth, tuple(said))


def _sheet(path: Path) -> str:
    """Return the address of a contact sheet; as JPEG it is a fraction of its file."""
    file = io.BytesIO()
    with Image.open(path) as image:
        image.convert("RGB").save(file, "jpeg", quality=80)
    return data_uri(file.getvalue(), "image/jpeg")


def styles_of_bench(run: RunRecords) -> dict[str, Style]:
    """Return the styles of the networks of a bench."""
    return {name: style_of(number) for number, name in enumerate(dict.fromkeys(row.network for row in run.timed))}
