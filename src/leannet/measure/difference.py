"""Whether one classifier is better than another, judged on the same images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from leannet.measure.intervals import Interval

__all__ = ["Difference", "measure_difference"]

RESAMPLES = 10_000

SIGNIFICANT = 0.05
"""Below this p-value, a difference counts as shown."""


@dataclass(frozen=True)
class Difference:
    """Top-1 accuracy of a second classifier less that of a first one."""

    images: int
    only_first: int
    """Images that only the first one gets right: b of McNemar's table."""

    only_second: int
    """Images that only the second one gets right: c of McNemar's table."""

    points: Interval
    """Second less first, in percentage points."""

    p_value: float
    """Of McNemar's exact test, two-sided."""

    @property
    def shown(self) -> bool:
        """Whether the test rules out, at the 5 % level, that both are equally good.

        The exact test decides, not the interval: that is too narrow where the two differ on a few images only.
        """
        return self.p_value < SIGNIFICANT

    def sentence(self, first: str, second: str) -> str:
        """Say in one sentence whether one is better.

        Args:
            first: What the first classifier is called.
            second: What the second one is called.
        """
        test = f"McNemar {_p_text(self.p_value)}"
        value, low, high = self.points.value, self.points.low, self.points.high
        if not self.shown:
            test += ", which decides" if low > 0 or high < 0 else ""
            return f"no difference shown: {value:+.2f} points (95 % interval {low:+.2f} to {high:+.2f}; {test})"
        better, worse = (second, first) if value > 0 else (first, second)
        if value < 0:
            value, low, high = -value, -high, -low
        return f"{better} is better than {worse} by {value:.2f} points (95 % interval {low:.2f} to {high:.2f}; {test})"


def measure_difference(first: Tensor, second: Tensor, *, seed: int = 0) -> Difference:
    """Compare two classifiers on the same images.

    Args:
        first: Whether the first one is right; bool of shape ``(N,)``, N at least 1.
        second: The same of the second one, for the same images in the same order.
        seed: Of the bootstrap.

    Raises:
        ValueError: The shapes do not fit.

    Source: McNemar (1947), "Note on the sampling error of the difference between correlated proportions or
    percentages"; exact, by the binomial distribution of the images on which the two differ.
    """
    if first.ndim != 1 or first.shape != second.shape or not len(first):
        raise ValueError(f"answers {tuple(first.shape)} and {tuple(second.shape)} are not to the same images")
    from scipy.stats import binomtest  # imported here since it takes long

    images = len(first)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    differ = only_first + only_second
    # An image counts -1, 0 or 1, so a resample of images is a draw of how many there are of each.
    shares = np.array([only_first, only_second, images - differ]) / images
    drawn = np.random.default_rng(seed).multinomial(images, shares, size=RESAMPLES)
    low, high = np.quantile(100 * (drawn[:, 1] - drawn[:, 0]) / images, (0.025, 0.975))
    method = f"paired bootstrap over images, {RESAMPLES} resamples, percentiles"
    return Difference(
        images=images,
        only_first=only_first,
        only_second=only_second,
        points=Interval(100 * (only_second - only_first) / images, float(low), float(high), method),
        p_value=float(binomtest(only_second, differ).pvalue) if differ else 1.0,
    )


def _p_text(value: float) -> str:
    return "p < 0.0001" if value < 0.0001 else f"p = {value:.2g}"
