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
_HALF = BINS // 2
_BLOCK = 1 << 18  # elements binned at a time: temporary memory stays small, and in the cache
SMALLEST_EXPONENT = -60  # values below 2**-60 share the middle bins: no 8-bit grid tells them from zero
LARGEST_EXPONENT = 128  # float32 ends just below 2**128


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
        bound = float(max(values.max(), -values.min())) if values.size else 0.0
        return EMPTY.including(values, bound)

    def including(self, values: NDArray[np.floating], bound: float) -> Histogram:
        """These counts and those of `values`.

        Args:
            values: Finite, of any shape.
            bound: Their largest magnitude; the range grows to hold it.
        """
        wide = self.widened(max(self.exponent, exponent_of(bound)))
        counts = wide.counts.copy() if wide is self else wide.counts
        flat = np.ravel(values)
        for start in range(0, flat.size, _BLOCK):
            counts += np.bincount(_bins(flat[start : start + _BLOCK], wide.exponent), minlength=BINS)
        return Histogram(wide.exponent, counts)

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
        if exponent == self.exponent:
            return self
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


def _bins(values: NDArray[np.floating], exponent: int) -> NDArray[np.integer]:
    """Bin of each value below `2**exponent`.

    A product with a power of two is exact, and the offset is added after rounding down: a bin edge is never crossed,
    however close a value lies to it. In float32 only the product can fail, by underflow, where the factor is below 1.
    """
    factor = 2.0 ** (_HALF.bit_length() - 1 - exponent)
    exact = values.dtype == np.float32 and factor >= 1.0
    position = values * np.float32(factor) if exact else values.astype(np.float64) * factor
    np.floor(position, out=position)
    position += _HALF
    return position.astype(np.int32)


def exponent_of(bound: float) -> int:
    """Smallest e with `bound < 2**e`, so that the largest value falls into a bin and not on the open upper edge."""
    if bound <= 0.0:
        return SMALLEST_EXPONENT
    return min(max(math.frexp(bound)[1], SMALLEST_EXPONENT), LARGEST_EXPONENT)


EMPTY = Histogram(SMALLEST_EXPONENT, np.zeros(BINS, np.int64))
