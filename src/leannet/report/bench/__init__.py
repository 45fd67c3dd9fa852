"""Networks timed beside each other: what is asked for, the measuring, the files."""

from leannet.report.bench.request import BenchRequest
from leannet.report.bench.results import BenchResults, BenchTable, Failure, NetworkFacts, Setting
from leannet.report.bench.run import BenchObserver, run_bench

__all__ = [
    "BenchObserver",
    "BenchRequest",
    "BenchResults",
    "BenchTable",
    "Failure",
    "NetworkFacts",
    "Setting",
    "run_bench",
]
