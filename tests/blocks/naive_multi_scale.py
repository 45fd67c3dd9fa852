"""The multi-scale convolution as the paper words it: loops over samples and channels, SciPy's correlation."""

import numpy as np
import torch
from scipy.signal import correlate2d


def features(layer, x):
    """The features of the inner and of the outer kernel, apart: ``Y' * W_inner`` and ``Y' * W_outer``."""
    weight, maps = layer.weight.detach().numpy(), x.detach().numpy()
    edge = (layer.kernel_size - layer.inner_size) // 2
    end = layer.kernel_size - edge
    inner, outer = np.zeros(maps.shape), np.zeros(maps.shape)
    together = layer.channels // layer.groups
    for sample in range(len(maps)):
        for channel in range(layer.channels):
            first = channel // together * together
            for number in range(together):
                read, ring = maps[sample, first + number], weight[channel, number].copy()
                centre = ring[edge:end, edge:end].copy()
                ring[edge:end, edge:end] = 0
                inner[sample, channel] += _correlated(read, centre)
                outer[sample, channel] += _correlated(read, ring)
    return inner, outer


def _correlated(maps, kernel):
    # SciPy's "same" is the size of the map only where the kernel is the smaller one.
    edge = len(kernel) // 2
    return correlate2d(np.pad(maps, edge), kernel, mode="valid")


def mixed(layer, x):
    """What the layer must answer, and its decisions ``(N, C)``."""
    inner, outer = features(layer, x)
    decisions = np.zeros(inner.shape[:2])
    out = inner.copy()
    for sample, channel in np.ndindex(decisions.shape):
        if np.abs(inner[sample, channel]).mean() >= layer.gate.threshold[channel].item():
            decisions[sample, channel] = 1
            out[sample, channel] += outer[sample, channel]
    return out, decisions


def half_open(layer, inner):
    """Set each threshold between the two middle samples."""
    strengths = np.sort(np.abs(inner).mean(axis=(2, 3)), axis=0)
    middle = len(strengths) // 2
    layer.gate.threshold.data = torch.from_numpy((strengths[middle - 1] + strengths[middle]) / 2)


def surrogate(x):
    """The slope that stands in for the step's."""
    size = abs(x)
    if size <= 0.4:
        return 2 - 4 * size
    return 0.4 if size <= 1 else 0.0
