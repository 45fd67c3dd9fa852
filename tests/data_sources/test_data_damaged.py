"""The benchmark of damaged files, with few of them: each kind is named, and no sound file is."""

import importlib.util
import tempfile
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "reliability" / "damaged_images.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("damaged_images", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_every_kind_of_damage_is_named_and_nothing_else(benchmark):
    # Not pytest's folder, which a process that has given up its rights may not enter.
    with tempfile.TemporaryDirectory() as name:
        kinds = benchmark.write_folder(Path(name) / "photos", each=4, sound=24, seed=3)
        answer = benchmark.run_scan(Path(name))
    assert "crashed" not in answer, answer
    record = benchmark.judge(kinds, answer)
    assert len(benchmark.KINDS) == 10
    assert (record["not_named"], record["wrongly_named"]) == ([], [])
    assert [row["named"] for row in record["rows"]] == [0] + [row["files"] for row in record["rows"][1:]]
    assert record["peak_bytes"] - record["peak_bytes_after_import"] < 2**28


def test_benchmark_notices_what_is_not_named(benchmark):
    kinds = {"sound": ["a", "b"], "truncated": ["c", "d"], "no permission": ["e"]}
    answer = {"named": {"b": "?", "c": "?"}, "kept": ["a"], "unreadable_is_unreadable": True, "seconds": [1, 1]}
    record = benchmark.judge(kinds, answer | {"peak_bytes": 2, "peak_bytes_after_import": 1})
    assert (record["not_named"], record["wrongly_named"]) == (["d", "e"], ["b"])
    lost = answer | {"named": {"c": "?", "d": "?"}, "unreadable_is_unreadable": False, "kept": ["a", "e"]}
    record = benchmark.judge(kinds, lost | {"peak_bytes": 2, "peak_bytes_after_import": 1})
    assert (record["not_named"], record["wrongly_named"]) == ([], ["b"])  # a sound file that is missing
