"""The records of each verb: a comparison, a training, an evaluation, a bench."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from leannet.measure import PREDICTIONS, Interval, mean_interval
from leannet.measure.bench import LEAST_ROUNDS
from leannet.report.bench.notes import circumstances_text, warnings_of
from leannet.report.html.pictures import read_pictures
from leannet.report.html.reading import provenance, read_answers, read_arguments, read_json, read_table
from leannet.report.html.records import Curve, Judged, NetworkRecord, RunRecords, TimedRow, Timing
from leannet_runtime import UserError

__all__ = ["read_run", "together"]


def read_run(folder: Path) -> RunRecords:
    """Read a run folder of ``leannet compare``, ``train``, ``evaluate`` or ``bench``.

    Raises:
        UserError: It is none, it is not finished, or a record in it is damaged.
    """
    if not (folder / "args.yaml").is_file():
        below = sorted(path.parent for path in folder.glob("*/args.yaml"))
        named = " or ".join(map(str, below[:3])) if below else "one, such as runs/compare/digits"
        raise UserError(f"cannot report {folder}", "it is no run folder: it has no args.yaml", f"Name {named}")
    if not (folder / "results.json").is_file():
        raise UserError(f"cannot report {folder}", "the run is not finished", "Run its command again to go on")
    try:
        arguments, results = read_arguments(folder), read_json(folder / "results.json")
        if "networks" in arguments:
            return _comparison(folder, arguments, results)
        if arguments.get("verb") == "evaluate":
            return _evaluation(folder, arguments, results)
        if arguments.get("verb") == "bench":
            return _bench(folder, arguments, results)
        if "model" in arguments and "recipe" in arguments:
            return _training(folder, arguments, results)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        what = f"one of its files lacks {error}" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"
        why = f"its records are damaged or of another version ({what})".replace("\n", " ")
        raise UserError(f"cannot report {folder}", why, "Run it again, or leave it out") from error
    raise UserError(f"cannot report {folder}", "its args.yaml is of no verb that is known here", "Leave it out")


def together(folder: Path, runs: Sequence[RunRecords]) -> list[RunRecords]:
    """Put trainings together as a comparison is, by network over its seeds: one for all that share their test images.

    Args:
        folder: In which they lie, with small copies of images on which they disagree.
        runs: Of ``leannet train``; of a network all with different seeds.
    """
    groups: dict[Judged | None, dict[str, list[RunRecords]]] = {}
    for run in runs:
        groups.setdefault(run.judged, {}).setdefault(run.networks[0].name, []).append(run)
    return [_together(folder, judged, list(group.values())) for judged, group in groups.items()]


def _together(folder: Path, judged: Judged | None, networks: Sequence[Sequence[RunRecords]]) -> RunRecords:
    runs = [run for of_seeds in networks for run in of_seeds]
    without = [run.networks[0].name for run in runs if not run.answers]
    return RunRecords(
        folder=folder,
        verb="train",
        provenance=(),
        judged=judged,
        fingerprint=runs[0].fingerprint,
        networks=tuple(_over_seeds(folder, of_seeds) for of_seeds in networks),
        curves=tuple(curve for run in runs for curve in run.curves),
        answers=tuple(answers for run in runs for answers in run.answers),
        pictures=read_pictures(folder),
        missing=(_no_answers(without),) if without else (),
    )


def _over_seeds(folder: Path, runs: Sequence[RunRecords]) -> NetworkRecord:
    networks = [run.networks[0] for run in runs]
    found = [network.top1.value for network in networks if network.top1]
    rates = [network.images_per_second for network in networks if network.images_per_second is not None]
    return replace(
        networks[0],
        run=folder,
        top1=mean_interval(found, judged.images) if (judged := runs[0].judged) and found else None,
        seeds=tuple(seed for network in networks for seed in network.seeds),
        images_per_second=statistics.fmean(rates) if rates else None,
    )


def _no_answers(networks: Iterable[str]) -> str:
    return f"no answers to single images of {', '.join(dict.fromkeys(networks))}"


def _comparison(folder: Path, arguments: dict[str, Any], results: dict[str, Any]) -> RunRecords:
    data = results["data"]
    judged = Judged(data["name"], data["judged_on"], data["images"][data["judged_on"]], tuple(data["classes"]))
    networks, curves, answers, without = [], [], [], []
    for row in results["rows"]:
        name, latency = row["network"], row.get("latency")
        timings: tuple[Timing, ...] = ()
        if latency:
            counted = f"{latency['threads']} thread{'s' if latency['threads'] > 1 else ''}"
            interval = Interval(**latency["interval"]) if latency.get("interval") else None  # older records have none
            how = f"{results['latency']}, {counted}"
            timings = (Timing(how, interval, latency["median_ms"], latency["p90_ms"]),)
        networks.append(
            NetworkRecord(
                name=name,
                run=folder,
                top1=Interval(**row["top1"]),
                parameters=row["parameters"],
                macs=row["macs"],
                seeds=tuple(row["seeds"]),
                images_per_second=row["images_per_second"],
                timings=timings,
            )
        )
        for seed in row["seeds"]:
            place = folder / "networks" / name.replace("/", "_") / f"seed-{seed}"
            curves.append(_curve(name, seed, read_table(place / "epochs.csv"), "loss"))
            found = read_answers(place / PREDICTIONS, name, seed, judged.classes)
            if found is None:
                without.append(name)
            else:
                answers.append(found)
    missing = [_no_answers(without)] if without else []
    if any(not network.timings for network in networks):
        missing.append("no latency of some networks")
    return RunRecords(
        folder=folder,
        verb="compare",
        provenance=provenance(folder, arguments),
        judged=judged,
        fingerprint=data["fingerprint"],
        networks=tuple(networks),
        curves=tuple(curve for curve in curves if curve.epochs),
        answers=tuple(answers),
        pictures=read_pictures(folder),
        missing=tuple(missing),
    )


def _training(folder: Path, arguments: dict[str, Any], results: dict[str, Any]) -> RunRecords:
    name, seed = results["model"], results["seed"]
    part = next((part for part in ("test", "validation") if part in results), None)
    path = folder / "environment.json"
    data = read_json(path)["data"] if path.is_file() else {}
    judged = None
    if part and data:
        judged = Judged(data["name"], part, results[part]["total"], tuple(data["classes"]))
    network = NetworkRecord(
        name=name,
        run=folder,
        top1=Interval(**results[part]["top1"]) if part else None,
        parameters=results["parameters"],
        macs=results["macs"],
        seeds=(seed,),
        images_per_second=results["images_per_second"],
    )
    curve = _curve(name, seed, read_table(folder / "results.csv"), "train_loss")
    answers = read_answers(folder / PREDICTIONS, name, seed, judged.classes) if judged else None
    missing = "no latency" if answers else "no latency, and no answers to single images"
    return RunRecords(
        folder=folder,
        verb="train",
        provenance=provenance(folder, arguments),
        judged=judged,
        fingerprint=data.get("fingerprint"),
        networks=(network,),
        curves=(curve,) if curve.epochs else (),
        answers=(answers,) if answers else (),
        missing=(missing,),
    )


def _evaluation(folder: Path, arguments: dict[str, Any], results: dict[str, Any]) -> RunRecords:
    data, second = results["data"], results.get("comparison")
    judged = Judged(data["name"], data["split"], data["images"], tuple(data["classes"]))
    found = [(results["model"], results["figures"], "")]
    if second:
        found.append((second["model"], second["figures"], "other_"))
    networks, answers = [], []
    for model, figures, prefix in found:
        name, top1 = model["folder"], {key: value for key, value in figures["top1"].items() if key != "unit"}
        networks.append(NetworkRecord(name, folder, Interval(**top1), None, None))
        answers.append(read_answers(folder / PREDICTIONS, name, None, judged.classes, prefix))
    sheet = folder / "confidently_wrong.png"
    return RunRecords(
        folder=folder,
        verb="evaluate",
        provenance=provenance(folder, arguments),
        judged=judged,
        fingerprint=data["fingerprint"],
        networks=tuple(networks),
        answers=tuple(each for each in answers if each is not None),
        sheet=sheet if sheet.is_file() else None,
        missing=("no parameters, MACs or latency: an evaluation does not record them",),
    )


def _bench(folder: Path, arguments: dict[str, Any], results: dict[str, Any]) -> RunRecords:
    rows = []
    for table in results["tables"]:
        threads = f"{table['threads']} thread{'s' if table['threads'] > 1 else ''}"
        place = f"CPU, {threads}" if table["device"] == "cpu" else table["device"]
        settings = [f"{table['backend']} on {place}", f"batch {table['batch_size']}", table["dtype"]]
        settings += ["channels last"] * table["channels_last"] + ["CUDA graph"] * table["cuda_graph"]
        notes = ". ".join(text.rstrip(".") for text in (circumstances_text(table), *warnings_of(table))) + "."
        for row in table["networks"]:
            size = f"{row['img_size']} px"
            median, ratio = Interval(**row["median_ms"]), row.get("ratio")
            against = ""
            if ratio:
                ends = f" ({ratio['low']:.2f} to {ratio['high']:.2f})" * (table["rounds"] >= LEAST_ROUNDS)
                against = f"{ratio['value']:.2f}{ends}: {ratio['word']}"
            shown = median if table["rounds"] >= LEAST_ROUNDS else None
            timing = Timing(", ".join([*settings, size]), shown, median.value, row["p90_ms"])
            costs = row["parameters"], row["macs"]
            rows.append(TimedRow(row["network"], *costs, timing, row["images_per_second"], against, notes))
    failed = [failure for table in results["tables"] for failure in table["failures"]]
    return RunRecords(
        folder=folder,
        verb="bench",
        provenance=provenance(folder, arguments),
        timed=tuple(rows),
        missing=tuple(dict.fromkeys(f"{each['network']} could not be run by {each['backend']}" for each in failed)),
    )


def _curve(network: str, seed: int, rows: list[dict[str, str]], loss: str) -> Curve:
    judged = any(row.get("val_top1") for row in rows)
    return Curve(
        network=network,
        seed=seed,
        epochs=tuple(float(row["epoch"]) for row in rows),
        loss=tuple(_number(row[loss]) for row in rows),
        validation_top1=tuple(_number(row["val_top1"]) for row in rows) if judged else (),
    )


def _number(text: str) -> float | None:
    return float(text) if text else None
