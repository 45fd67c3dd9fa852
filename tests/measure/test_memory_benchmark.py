"""The benchmark of memory trains the form of the network that it is asked for, and says so."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "memory.py"


@pytest.fixture
def benchmark():
    spec = importlib.util.spec_from_file_location("memory_benchmark", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("given", "small"), [((), True), (("--small-input",), True), (("--no-small-input",), False)])
def test_form_of_the_network(benchmark, tmp_path, monkeypatch, given, small):
    started = []

    def watch(arguments, *_):
        started.append(arguments)
        return {"peak_bytes": 1, "peak_bytes_until": {}, "exit_code": 0}

    monkeypatch.setattr(benchmark, "watch", watch)
    monkeypatch.setattr(sys, "argv", ["memory.py", "CIFAR", *given, "--output", str(tmp_path / "record.json")])
    with pytest.raises(SystemExit) as end:
        benchmark.main()
    assert end.value.code == 0
    option = "--small-input" if small else "--no-small-input"
    [arguments] = started
    assert [argument for argument in arguments if "small-input" in argument] == [option]
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["small_input"] is small
    assert option in record["command"].split()
