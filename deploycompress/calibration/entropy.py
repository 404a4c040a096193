"""histogram of a tensor -> the clipped range whose quantized distribution tells least apart from the original one.

    minimise KL(P || Q) = sum_k P_k log(P_k / Q_k)   over the ranges that keep a whole number of bins

For a range of n bins, P is the histogram inside it, with everything outside added to its first and last bin. Q is the
histogram inside it alone, its n bins merged into `LEVELS` runs of (almost) equal length, the count of each run then
shared evenly among those of its bins that P does not leave empty. Both are normalised. A run that is empty in Q and not
in P makes the divergence infinite, so the widest range, where P is Q but for the merging, is always a candidate.

Three things differ from the original, which searches a bound of |x|. Both ends of an asymmetric range shrink in
proportion, and the runs span it from end to end. A range that leaves out more than one element in a hundred is no
candidate: where nearly all values are outliers, P and Q agree, as both are one spike. As in NVIDIA's implementation,
the bin of zero counts no more than its neighbour: zero is always a code, so the spike that a Relu leaves there is
exact, whatever the range.

Source: Migacz, "8-bit Inference with TensorRT", GTC 2017 (pseudocode of the entropy calibration, 128 levels of |x|);
NVIDIA pytorch-quantization, `calib/histogram.py`, `_compute_amax_entropy`. ONNX Runtime's `get_entropy_threshold` with
its defaults, 128 bins and 128 levels, has one candidate, which is min-max.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LEVELS = 128
MOST_OUTSIDE = 0.01  # of the elements


def kept_bins(counts: NDArray[np.int64], below: int, above: int, levels: int = LEVELS) -> tuple[int, int]:
    """Bins to keep below and above zero, at most `below` and `above`, with the least divergence.

    Args:
        counts: Histogram in which zero opens the bin in the middle.
        below: Bins below zero that hold the smallest value.
        above: Bins above zero that hold the largest one.
        levels: Number of quantized values.
    """
    lower, upper = candidates(below, above, levels)
    found = divergence(counts, lower, upper, levels)
    best = int(np.argmin(found))
    return int(lower[best]), int(upper[best])


def candidates(below: int, above: int, levels: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ranges of `levels` bins or more that share the proportion below : above, from the narrowest to the whole."""
    longer = max(below, above)
    kept = np.arange(1, longer + 1, dtype=np.int64)
    lower, upper = -(-kept * below // longer), -(-kept * above // longer)
    enough = (lower + upper >= levels) | (kept == longer)
    return lower[enough], upper[enough]


def divergence(
    counts: NDArray[np.int64], lower: NDArray[np.int64], upper: NDArray[np.int64], levels: int
) -> NDArray[np.float64]:
    """KL(P || Q) in nats for each range of `lower` bins below zero and `upper` above, float64 [ranges]; inf for none.

    With N the sum of P, M that of Q and m_l, o_l, e_l the count inside, the outliers and the non-empty bins of run l:
    `(sum_k P_k log P_k - sum_l (m_l + o_l) log(m_l / e_l)) / N + log(M / N)`, each sum a difference of running sums.
    """
    middle = len(counts) // 2
    bins = counts.astype(np.float64)
    bins[middle] = min(bins[middle], bins[middle + 1])
    total = bins.sum()
    if total == 0.0:
        return np.where(np.arange(len(lower)) == len(lower) - 1, 0.0, np.inf)
    first, last = middle - lower, middle + upper - 1
    running = _running(bins)
    edges = first[:, None] + -(-np.arange(levels + 1) * (lower + upper)[:, None] // levels)
    inside = np.diff(running[edges])
    filled = np.diff(_running((bins > 0).astype(np.float64))[edges])
    reference = inside.copy()
    entropy = np.diff(_running(_x_log_x(bins))[np.stack([first, last + 1], axis=1)])[:, 0]
    for run, edge, outliers in ((0, first, running[first]), (-1, last, total - running[last + 1])):
        reference[:, run] += outliers
        filled[:, run] += (bins[edge] == 0) & (outliers > 0)
        entropy += _x_log_x(bins[edge] + outliers) - _x_log_x(bins[edge])
    with np.errstate(divide="ignore", invalid="ignore"):
        shared = np.where(reference > 0, reference * np.log(inside / filled), 0.0).sum(axis=1)
        kept = inside.sum(axis=1)
        return np.where(kept >= (1 - MOST_OUTSIDE) * total, (entropy - shared) / total + np.log(kept / total), np.inf)


def _running(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of the first 0, 1, ... values."""
    return np.concatenate([[0.0], np.cumsum(values)])


def _x_log_x(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values * np.log(np.maximum(values, 1.0))  # counts: 0 log 0 = 0, and none lies between 0 and 1
