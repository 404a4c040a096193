"""values -> counts in 2,048 equal bins over [-r, r), r a power of two that doubles by merging pairs of bins.

Data is never re-binned: when `r` doubles, old bins 2k and 2k+1 become one new bin, exactly, because bin edges are
multiples of `r / 1024` and `r` is a power of two. The result therefore depends on the multiset of values alone, not on
their order or on how they were split into batches, and `merge` is associative.

Only the histogram is approximate, by half a bin width (r / 2048); minimum and maximum are kept exactly beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 2048
_SMALLEST_EXPONENT = -60  # values below 2**-60 share the middle bins: no 8-bit grid tells them from zero
_LARGEST_EXPONENT = 128  # float32 ends just below 2**128


@dataclass(frozen=True)
class Histogram:
    """Counts of values over [-2**exponent, 2**exponent).

    Attributes:
        exponent: Log2 of the range `r`.
        counts: int64 [BINS]; bin k covers [-r + k*w, -r + (k+1)*w) with w = 2r / BINS. Zero opens bin BINS / 2.
    """

    exponent: int
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, values: NDArray[np.floating]) -> Histogram:
        """Histogram of finite values of any shape, in the smallest range that holds them."""
        flat = np.ravel(values)
        if flat.size == 0:
            return cls(_SMALLEST_EXPONENT, np.zeros(BINS, np.int64))
        exponent = exponent_of(float(max(flat.max(), -flat.min())))
        # A product with a power of two is exact, and the offset is added after rounding down, as an integer: a bin
        # edge is never crossed, however close a value lies to it.
        position = np.floor(flat.astype(np.float64) * (BINS / 2 / 2.0**exponent))
        index = position.astype(np.int64) + BINS // 2
        np.clip(index, 0, BINS - 1, out=index)
        return cls(exponent, np.bincount(index, minlength=BINS).astype(np.int64))

    @property
    def bound(self) -> float:
        """The range `r`."""
        return float(2.0**self.exponent)

    @property
    def centers(self) -> NDArray[np.float64]:
        """Middle value of each bin, float64 [BINS]."""
        width = 2.0 * self.bound / BINS
        return np.asarray(-self.bound + width * (np.arange(BINS) + 0.5), np.float64)

    def widened(self, exponent: int) -> Histogram:
        """The same counts over the range `2**exponent`, at least the present one."""
        counts = self.counts
        for _ in range(min(exponent - self.exponent, BINS.bit_length())):
            merged = counts.reshape(-1, 2).sum(axis=1)
            counts = np.zeros(BINS, np.int64)
            counts[BINS // 4 : BINS // 4 + BINS // 2] = merged
        return Histogram(exponent, counts)

    def merge(self, other: Histogram) -> Histogram:
        """Histogram of both sets of values."""
        exponent = max(self.exponent, other.exponent)
        return Histogram(exponent, self.widened(exponent).counts + other.widened(exponent).counts)


def exponent_of(bound: float) -> int:
    """Smallest e with `bound < 2**e`, so that the largest value falls into a bin and not on the open upper edge."""
    if bound <= 0.0:
        return _SMALLEST_EXPONENT
    return min(max(math.frexp(bound)[1], _SMALLEST_EXPONENT), _LARGEST_EXPONENT)
