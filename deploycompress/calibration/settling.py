"""statistics of n/2 and of n samples -> whether the ranges have settled, so that calibration may end at n.

    settled  <=>  n >= FEWEST_SAMPLES, and for every tensor error(range of n/2) <= (1 + TOLERANCE) error(range of n)

`error` is the squared error of an 8-bit grid over everything that n samples held, so the ranges of one half are judged
on data half of which they have not seen. It is asked at 64, 128, ... samples. How far a range moved would be the
wrong question: near the best range the error is flat, and a bound that moves by a third there changes nothing.

Both must be a fair picture of the data: a folder is read class by class, so its first samples are all alike, and their
ranges agree for no good reason. `rounds` therefore spreads every prefix evenly over the source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from deploycompress.calibration.ranges import RANGE_METHODS, RangeMethod, squared_errors
from deploycompress.calibration.statistics import Statistics, TensorStatistics

FEWEST_SAMPLES = 64  # the means of channels, which correct biases, are then known to an eighth of their spread
TOLERANCE = 0.25  # 1 dB of the rounding noise of a single tensor


def settled(method: RangeMethod) -> Callable[[Statistics, Statistics], bool]:
    """The question that `collect` asks, for ranges chosen in this way."""

    def question(before: Statistics, after: Statistics) -> bool:
        enough = after.samples >= FEWEST_SAMPLES
        return enough and all(excess(before[name], after[name], method) <= TOLERANCE for name in after)

    return question


def excess(before: TensorStatistics, after: TensorStatistics, method: RangeMethod) -> float:
    """How much larger the squared error on all samples is with the range of the first half: 0.1 is a tenth.

    Args:
        before: Over the first half of the samples.
        after: Over all of them.
        method: How ranges are chosen.
    """
    old, new = RANGE_METHODS[method](before), RANGE_METHODS[method](after)
    if old == new:
        return 0.0
    if old[0] >= old[1]:
        return float("inf")  # nothing but zeros so far
    error_old, error_new = squared_errors(after, *np.array([old, new]).T)
    return float(error_old / error_new - 1) if error_new > 0 else float("inf") if error_old > 0 else 0.0


def rounds(count: int) -> Iterator[Sequence[int]]:
    """Positions 0 .. count - 1 in rounds that end after 32, 64, 128, ... and all of them.

    After n of them, those seen are `{k * count // n, k < n}`: evenly spread, and a part of those that follow.
    """
    size, seen = FEWEST_SAMPLES // 2, frozenset[int]()
    while size < count:
        spread = frozenset(k * count // size for k in range(size))
        yield sorted(spread - seen)
        size, seen = 2 * size, spread
    yield [position for position in range(count) if position not in seen]
