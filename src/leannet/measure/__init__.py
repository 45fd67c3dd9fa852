"""Parameters, MACs, memory, latency and intervals of any module."""

from leannet.measure.evaluation_mode import evaluation_mode
from leannet.measure.intervals import Interval, seeds_interval, wilson_interval
from leannet.measure.latency import Latency, measure_latency
from leannet.measure.macs import MACS_RULE, MacsCount, count_macs, count_parameters
from leannet.measure.memory import peak_activation_bytes
from leannet.measure.profile import LayerProfile, NetworkProfile, profile_network

__all__ = [
    "MACS_RULE",
    "Interval",
    "Latency",
    "LayerProfile",
    "MacsCount",
    "NetworkProfile",
    "count_macs",
    "count_parameters",
    "evaluation_mode",
    "measure_latency",
    "peak_activation_bytes",
    "profile_network",
    "seeds_interval",
    "wilson_interval",
]
