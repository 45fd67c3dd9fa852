"""Networks timed beside each other, setting after setting."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import torch

from leannet.deploy.backend_files import Exports
from leannet.deploy.backends import Circumstances, prepare_call, stopwatch_for
from leannet.measure.bench import (
    COPIES,
    COPIES_BYTES,
    LoadMeter,
    cpu_limits,
    free_memory_bytes,
    measure_scaling,
    process_peak_bytes,
    summarise,
    time_in_rounds,
)
from leannet.models import is_out_of_memory
from leannet.report.bench.files import begin_folder, write_results
from leannet.report.bench.networks import BenchNetwork, check_answer, make_networks
from leannet.report.bench.request import BenchRequest
from leannet.report.bench.results import BenchResults, BenchTable, Failure, Setting

__all__ = ["BenchObserver", "run_bench"]

RUNTIME_NEEDS = 125
"""Percent of the memory in PyTorch that a runtime was seen to take for a network."""


class BenchObserver(Protocol):
    """Who is told how far a bench is."""

    def making(self, network: str) -> None:
        """A network is made, or brought into a backend."""

    def timing(self, setting: Setting, done: int, rounds: int) -> None:
        """So many rounds of a table are timed; 0 while it warms up."""

    def failed(self, failure: Failure) -> None:
        """A network cannot be run by a backend; the others go on."""


def run_bench(request: BenchRequest, folder: Path, observer: BenchObserver) -> BenchResults:
    """Time networks in every combination of the settings.

    Args:
        request: What is timed.
        folder: Gets ``args.yaml`` and ``environment.json`` at the beginning, and after each table ``results.json``,
            ``results.csv`` and ``rounds.csv`` with all tables so far.
        observer: Told of every step.

    Raises:
        UserError: Something given does not fit.
    """
    request = request.settled()
    assert request.threads is not None
    assert request.reference is not None
    sizes = request.img_sizes or (None,)
    first = make_networks(request, sizes[0])  # mistakes come before the folder
    begin_folder(folder, request)
    results = BenchResults(cpu_limits(), request.reference)
    combinations = [
        (threads, batch_size, backend)
        for backend in request.backends
        for threads in request.threads
        for batch_size in request.batch_sizes
    ]
    budget = _Budget(request.seconds, len(sizes) * len(combinations))
    for number, size in enumerate(sizes):
        networks = first if number == 0 else make_networks(request, size)
        exports = Exports()
        for threads, batch_size, backend in combinations:
            setting = Setting(
                backend,
                request.device,
                threads,
                batch_size,
                size,
                request.dtype,
                request.channels_last and backend in ("eager", "compile"),
                request.cuda_graph and backend in ("eager", "compile"),
            )
            results.tables.append(_measure(request, setting, networks, exports, budget, observer))
            results.complete = len(results.tables) == len(sizes) * len(combinations)
            write_results(results, folder)
    return results


class _Budget:
    """Seconds for several tables: what one leaves over, the others get."""

    def __init__(self, seconds: float | None, tables: int) -> None:
        self.left = seconds
        self.tables = tables

    def share(self) -> float | None:
        return None if self.left is None else max(self.left, 0.0) / self.tables

    def spend(self, seconds: float) -> None:
        self.tables -= 1
        if self.left is not None:
            self.left -= seconds


def _measure(
    request: BenchRequest,
    setting: Setting,
    networks: dict[str, BenchNetwork],
    exports: Exports,
    budget: _Budget,
    observer: BenchObserver,
) -> BenchTable:
    """Time all networks in one setting."""
    how = request.circumstances(setting.threads)
    with _threads(setting.threads):
        if setting.backend == "compile":
            torch.compiler.reset()  # code for another setting, or for a network that is gone, is of no use
        calls, failures = _calls(request, setting, networks, exports, observer)
        load, times = LoadMeter(), None
        if calls:
            began = time.perf_counter()
            times = time_in_rounds(
                calls,
                rounds=request.rounds or 1,
                seconds=budget.share(),
                seed=request.seed,
                stopwatch=stopwatch_for(setting.backend, how),
                on_round=lambda done, rounds: observer.timing(setting, done, rounds),
            )
            budget.spend(time.perf_counter() - began)
        else:
            budget.spend(0)
        load_meanwhile = load.finish()
        memory = tuple(networks[label].memory_bytes(setting.batch_size, how) for label in calls)
    reference = request.reference if request.reference in calls else None
    timings = () if times is None else summarise(times, setting.batch_size, reference, seed=request.seed)
    facts = tuple(networks[label].facts for label in calls)
    distinct = {request.labels()[label]: place for place, label in reversed([*enumerate(calls)])}
    scaling = measure_scaling(
        [facts[place].macs for place in distinct.values()],
        [timings[place].median_ms.value for place in distinct.values()],
        seed=request.seed,
    )
    return BenchTable(
        setting, reference, facts, timings, memory, scaling, times, load_meanwhile, process_peak_bytes(), failures
    )


def _calls(
    request: BenchRequest,
    setting: Setting,
    networks: dict[str, BenchNetwork],
    exports: Exports,
    observer: BenchObserver,
) -> tuple[dict[str, list[Callable[[], Any]]], tuple[Failure, ...]]:
    """Bring copies of the networks into a backend, and check that each answers like PyTorch."""
    how = request.circumstances(setting.threads)
    copies = _copies(request, setting, networks, how)
    calls: dict[str, list[Callable[[], Any]]] = {}
    failures = []
    for label, network in networks.items():
        observer.making(label)
        images = network.images(setting.batch_size)
        try:
            several = [prepare_call(setting.backend, network.model, images, how, exports) for _ in range(copies)]
            expected = network.answer(images)
            for call in several:
                check_answer(call, expected, how)
        except Exception as error:  # exporters and compilers raise whatever they like
            failure = Failure(label, setting.backend, _first_line(error))
            failures.append(failure)
            observer.failed(failure)
        else:
            calls[label] = several
    return calls, tuple(failures)


def _copies(request: BenchRequest, setting: Setting, networks: dict[str, BenchNetwork], how: Circumstances) -> int:
    if how.on_gpu or setting.backend == "compile":  # a GPU has an allocator of its own, and compiling takes minutes
        return 1
    each = 1
    for network in networks.values():
        if setting.backend == "eager":  # PyTorch gives activations back after each call
            each += network.weight_bytes()
            continue
        with suppress(Exception):  # it fails again, and is told, where it is brought into the backend
            each += RUNTIME_NEEDS * network.memory_bytes(setting.batch_size, how) // 100
    free = free_memory_bytes()
    most = COPIES_BYTES if free is None else min(COPIES_BYTES, free // 2)
    return max(1, min(COPIES, request.rounds or 1, most // each))


def _first_line(error: BaseException) -> str:
    """Say what began it: exporters wrap an error into advice, with colours for a terminal."""
    if is_out_of_memory(error):
        return "there is not enough memory; pass a smaller --batch-sizes or --img-size"
    while error.__cause__ is not None:
        error = error.__cause__
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Give PyTorch so many threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
