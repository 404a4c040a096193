"""statistics of a tensor -> the range [low, high] its 8-bit grid should span; each choice is one function.

* min-max: everything that was seen.
* percentile: the smallest range that leaves out at most a share `1 - p` of the elements, half on each side.
* MSE: the clipped range with the least expected squared error, `sum_k n_k (x_k - Q(x_k))^2` over the histogram.
* entropy: the clipped range with the least Kullback-Leibler divergence of the quantized histogram (see `entropy`).

Source: Krishnamoorthi 2018 (arXiv:1806.08342) section 2; Nagel et al. 2021 (arXiv:2106.08295) section 3.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deploycompress.calibration.entropy import kept_bins
from deploycompress.calibration.statistics import TensorStatistics

RangeMethod = Literal["minmax", "percentile", "mse", "entropy"]
Range = tuple[float, float]

PERCENTILE = 0.9999  # 0.999 destroys a real encoder: rare values carry its [CLS] token
_MSE_STEPS = 64  # clip at 1, 63/64, ... of the full range; finer steps change the error by under 1 %


def minmax(statistics: TensorStatistics) -> Range:
    """The exact extremes, widened to contain zero."""
    return min(statistics.low, 0.0), max(statistics.high, 0.0)


def percentile(statistics: TensorStatistics, share: float = PERCENTILE) -> Range:
    """The bins that hold the middle `share` of the elements, never wider than the extremes."""
    low, high = minmax(statistics)
    counts, centers = statistics.histogram.counts, statistics.histogram.centers
    width = 2 * statistics.histogram.bound / len(counts)
    below = np.cumsum(counts)
    total = int(below[-1])
    tail = (1.0 - share) / 2 * total
    first = int(np.searchsorted(below, tail, side="right"))
    last = int(np.searchsorted(below, total - tail, side="left"))
    first, last = min(first, len(counts) - 1), min(last, len(counts) - 1)
    return min(max(low, float(centers[first]) - width / 2), 0.0), max(min(high, float(centers[last]) + width / 2), 0.0)


def mse(statistics: TensorStatistics) -> Range:
    """The range, shrunk step by step from the extremes, with the least squared error on an affine grid."""
    low, high = minmax(statistics)
    if high <= low:
        return low, high
    shares = np.arange(_MSE_STEPS, _MSE_STEPS // 4, -1) / _MSE_STEPS
    best = float(shares[int(np.argmin(squared_errors(statistics, low * shares, high * shares)))])
    return low * best, high * best


def squared_errors(
    statistics: TensorStatistics, low: NDArray[np.float64], high: NDArray[np.float64], levels: int = 255
) -> NDArray[np.float64]:
    """Sum over the elements of `(x - Q(x))^2` for affine grids that span [low, high], float64 like `low`."""
    used = np.flatnonzero(statistics.histogram.counts)
    # A bin wider than the extremes would invent values beyond them.
    values = np.clip(statistics.histogram.centers[used], statistics.low, statistics.high)
    weights = statistics.histogram.counts[used].astype(np.float64)
    scale = ((high - low) / levels)[:, None]
    zero = np.rint(-low[:, None] / scale)
    codes = np.clip(np.rint(values[None, :] / scale) + zero, 0, levels)
    return np.asarray((((codes - zero) * scale - values) ** 2 * weights).sum(axis=1))


def entropy(statistics: TensorStatistics) -> Range:
    """The range, shrunk by whole bins from the extremes, whose quantized histogram diverges least from the original."""
    low, high = minmax(statistics)
    if high <= low:
        return low, high
    width = 2 * statistics.histogram.bound / len(statistics.histogram.counts)
    below, above = kept_bins(statistics.histogram.counts, math.ceil(-low / width), math.floor(high / width) + 1)
    return max(low, -below * width), min(high, above * width)


RANGE_METHODS: Mapping[RangeMethod, Callable[[TensorStatistics], Range]] = {
    "minmax": minmax,
    "percentile": percentile,
    "mse": mse,
    "entropy": entropy,
}
