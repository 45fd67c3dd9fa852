"""What `leannet bench` says of copies and of few rounds."""

import importlib
import json
from functools import partial

import numpy as np
import pytest
import torch
from command_line import SMALLEST, leannet
from test_bench_command import OTHER, QUICK, known_times, rows_of

from leannet import create_network
from leannet.measure.bench import COPIES

__all__ = ["known_times"]  # a fixture

run = importlib.import_module("leannet.report.bench.run")


@pytest.fixture(autouse=True)
def _quick_collector(monkeypatch):
    monkeypatch.setattr("gc.collect", lambda: 0)


ONE_COPY = "One copy of each network was timed"


def test_fewer_copies_where_all_would_take_too_much(monkeypatch, tmp_path):
    needed = sum(
        sum(
            tensor.numel() * tensor.element_size()
            for tensor in create_network(name, num_classes=3).state_dict().values()
        )
        for name in (SMALLEST, OTHER)
    )
    taken = []
    for limit in (1, int(3.5 * needed), 10**12):
        monkeypatch.setattr(run, "COPIES_BYTES", limit)
        answer = leannet("bench", SMALLEST, OTHER, *QUICK, "--output", tmp_path / str(limit))
        [table] = json.loads((tmp_path / str(limit) / "results.json").read_text())["tables"]
        taken.append(
            (table["copies"], f"{table['copies']} copies of each in turn" in answer.out, ONE_COPY in answer.out)
        )
    assert taken == [(1, False, True), (3, True, False), (COPIES, True, False)]


def test_one_copy_of_what_is_compiled(monkeypatch):
    made = []

    def prepare(backend, model, images, *_):
        made.append(backend)
        with torch.no_grad():
            return partial(np.copy, model(images).numpy())

    monkeypatch.setattr(run, "prepare_call", prepare)
    assert ONE_COPY in leannet("bench", SMALLEST, OTHER, *QUICK, "--backends", "compile").out
    assert made == ["compile"] * 2


@pytest.mark.parametrize(("rounds", "shown"), [(5, False), (6, True)])
def test_too_few_rounds_have_no_interval(known_times, rounds, shown):
    known_times |= {SMALLEST: 10.0, OTHER: 15.0}
    row = rows_of(leannet("bench", SMALLEST, OTHER, *QUICK, "--rounds", rounds))[OTHER]
    assert ("15.00" in row) is shown
    assert ("1.500 - 1.500" in " ".join(row)) is shown
    assert row[-1] == ("slower" if shown else "say")


def test_a_batch_that_is_too_large_for_memory_is_said_to_be(monkeypatch):
    def prepare(*_):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(run, "prepare_call", prepare)
    answer = leannet("bench", SMALLEST, *QUICK)
    assert answer.code == 1
    said = "there is not enough memory; pass a smaller --batch-sizes or --img-size"
    assert f"{SMALLEST} could not be timed: {said}\n" in answer.out
