"""samples -> percentile bootstrap interval of a statistic, by resampling blocks of rounds.

A unit is one row of `samples`: a round of runs, a sample of a data set. Neighbouring rounds share the state of the
machine, so whole blocks of consecutive rounds are drawn (circular block bootstrap; a block of 1 is the ordinary one).

Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13 (percentile interval); Politis and
Romano, "A circular block-resampling procedure for stationary data", 1992.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from deploycompress.records.measured import Interval

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]

_CHUNK = 4_000_000


def interval(
    samples: Floats,
    statistic: Statistic,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    block: int = 1,
    seed: int = 0,
) -> Interval:
    """Interval of `statistic` over units drawn with replacement.

    Args:
        samples: [units] or [units, runs per unit]; runs of a unit stay together.
        statistic: Maps [draws, values] to [draws].
        level: Confidence level between 0 and 1.
        resamples: Number of draws.
        block: Consecutive units drawn together.
        seed: Of the random generator; the same seed gives the same interval.

    Raises:
        ValueError: There are no samples.
    """
    units = np.asarray(samples, dtype=np.float64)
    if units.size == 0:
        raise ValueError("a bootstrap needs at least one sample")
    rng = np.random.default_rng(seed)
    per_chunk = max(1, _CHUNK // units.size)
    draws = [
        statistic(units[_rows(len(units), min(per_chunk, resamples - done), block, rng)].reshape(-1, units.size))
        for done in range(0, resamples, per_chunk)
    ]
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(np.concatenate(draws), [tail, 100 - tail])
    return Interval(float(low), float(high), level)


def median(samples: Floats, *, level: float = 0.95, resamples: int = 2000, block: int = 1, seed: int = 0) -> Interval:
    """Interval of the median."""
    return interval(samples, _median, level=level, resamples=resamples, block=block, seed=seed)


def quantile(
    samples: Floats, q: float, *, level: float = 0.95, resamples: int = 2000, block: int = 1, seed: int = 0
) -> Interval:
    """Interval of the `q` quantile, 0.95 for p95."""
    statistic = partial(np.quantile, q=q, axis=1)
    return interval(samples, statistic, level=level, resamples=resamples, block=block, seed=seed)


def mean_difference(
    first: Floats, second: Floats, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Interval of `mean(first - second)`, the two being paired unit by unit.

    Raises:
        ValueError: The lengths differ.
    """
    if len(first) != len(second):
        raise ValueError(f"paired samples differ in number: {len(first)} and {len(second)}")
    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    return interval(difference, _mean, level=level, resamples=resamples, seed=seed)


def _median(draws: Floats) -> Floats:
    return np.asarray(np.median(draws, axis=1))


def _mean(draws: Floats) -> Floats:
    return np.asarray(draws.mean(axis=1))


def _rows(units: int, draws: int, block: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """[draws, units] unit numbers: circular blocks of consecutive units, cut to the number of units."""
    width = max(1, min(block, units))
    starts = rng.integers(0, units, size=(draws, -(-units // width), 1))
    return np.asarray((starts + np.arange(width)).reshape(draws, -1)[:, :units] % units, dtype=np.intp)
