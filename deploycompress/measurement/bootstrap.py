"""a statistic of weighted samples -> its percentile bootstrap interval.

A draw of n samples with replacement is a vector of weights: how often each sample was drawn. Equal samples share a cell
and are drawn together (a multinomial), so that the cost follows the number of different samples.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13 (percentile interval).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from deploycompress.records.measured import Interval

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]

_CHUNK = 2_000_000


def interval(
    statistic: Statistic, counts: Floats, *, draws: int = 2000, level: float = 0.95, seed: int = 0
) -> Interval:
    """Interval of `statistic` over samples drawn with replacement.

    Args:
        statistic: Maps weights [draws, cells] to [draws].
        counts: [cells] how many samples each cell holds; fractions (prior counts) are allowed.
        draws: Number of draws.
        level: Confidence level between 0 and 1.
        seed: Of the random generator; the same seed gives the same interval.

    Raises:
        ValueError: There are no samples.
    """
    if not len(counts) or counts.sum() <= 0:
        raise ValueError("a bootstrap needs at least one sample")
    rng = np.random.default_rng(seed)
    size, shares = round(float(counts.sum())), counts / counts.sum()
    per_chunk = max(1, _CHUNK // len(counts))
    values = [
        statistic(rng.multinomial(size, shares, size=min(per_chunk, draws - done)).astype(np.float64))
        for done in range(0, draws, per_chunk)
    ]
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(np.concatenate(values), [tail, 100 - tail])
    return Interval(float(low), float(high), level)
