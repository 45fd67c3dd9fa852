"""An instrument for latency: rounds, intervals, ratios, what the machine did meanwhile, MACs beside time."""

from leannet.measure.bench.bootstrap import RESAMPLES, block_length, median_interval
from leannet.measure.bench.machine import CpuLimits, Load, LoadMeter, cpu_limits, free_memory_bytes, process_peak_bytes
from leannet.measure.bench.records import Ratio, Timing, summarise
from leannet.measure.bench.rounds import (
    COPIES,
    COPIES_BYTES,
    LEAST_ROUNDS,
    MOST_ROUNDS,
    ROUNDS_RULE,
    RoundTimes,
    time_in_rounds,
)
from leannet.measure.bench.scaling import SCALING_RULE, Scaling, measure_scaling
from leannet.measure.bench.stopwatch import CudaStopwatch, HostStopwatch, Stopwatch
from leannet.measure.bench.warm_up import WarmUp

__all__ = [
    "COPIES",
    "COPIES_BYTES",
    "LEAST_ROUNDS",
    "MOST_ROUNDS",
    "RESAMPLES",
    "ROUNDS_RULE",
    "SCALING_RULE",
    "CpuLimits",
    "CudaStopwatch",
    "HostStopwatch",
    "Load",
    "LoadMeter",
    "Ratio",
    "RoundTimes",
    "Scaling",
    "Stopwatch",
    "Timing",
    "WarmUp",
    "block_length",
    "cpu_limits",
    "free_memory_bytes",
    "measure_scaling",
    "median_interval",
    "process_peak_bytes",
    "summarise",
    "time_in_rounds",
]
