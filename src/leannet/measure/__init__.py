"""Parameters, MACs, memory and latency of any module; accuracy of its answers, with intervals."""

from leannet.measure.accuracy import CALIBRATION_BINS, Accuracy, ClassAccuracy, measure_accuracy
from leannet.measure.difference import Difference, measure_difference
from leannet.measure.evaluation_mode import evaluation_mode
from leannet.measure.intervals import Interval, mean_interval, newcombe_interval, seeds_interval, wilson_interval
from leannet.measure.latency import Latency, measure_latency
from leannet.measure.macs import MACS_RULE, MacsCount, count_macs, count_parameters
from leannet.measure.memory import peak_activation_bytes
from leannet.measure.predictions import PREDICTION_COLUMNS, PREDICTIONS, Predictions
from leannet.measure.profile import LayerProfile, NetworkProfile, profile_network
from leannet.measure.svg import svg_style, svg_text

__all__ = [
    "CALIBRATION_BINS",
    "MACS_RULE",
    "PREDICTIONS",
    "PREDICTION_COLUMNS",
    "Accuracy",
    "ClassAccuracy",
    "Difference",
    "Interval",
    "Latency",
    "LayerProfile",
    "MacsCount",
    "NetworkProfile",
    "Predictions",
    "count_macs",
    "count_parameters",
    "evaluation_mode",
    "mean_interval",
    "measure_accuracy",
    "measure_difference",
    "measure_latency",
    "newcombe_interval",
    "peak_activation_bytes",
    "profile_network",
    "seeds_interval",
    "svg_style",
    "svg_text",
    "wilson_interval",
]
