"""samples -> percentile bootstrap interval of a statistic, by resampling blocks of rounds.

A unit is one row of `samples`: a round of runs, a sample of a data set. Neighbouring rounds share the state of the
machine, so whole blocks of consecutive rounds are drawn (circular block bootstrap; a block of 1 is the ordinary one).
Rounds of one process share its memory layout, so processes are drawn first, then rounds within each (`groups`).

Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13 (percentile interval); Politis and
Romano, "A circular block-resampling procedure for stationary data", 1992; Davison and Hinkley, "Bootstrap Methods and
their Application", 1997, section 3.8 (hierarchical data).
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
    groups: int = 1,
    seed: int = 0,
) -> Interval:
    """Interval of `statistic` over units drawn with replacement.

    Args:
        samples: [units] or [units, runs per unit]; runs of a unit stay together.
        statistic: Maps [draws, values] to [draws].
        level: Confidence level between 0 and 1.
        resamples: Number of draws.
        block: Consecutive units drawn together.
        groups: Number of equal groups that the units come in, one after the other; groups are drawn first.
        seed: Of the random generator; the same seed gives the same interval.

    Raises:
        ValueError: There are no samples, or they do not divide into `groups`.
    """
    units = np.asarray(samples, dtype=np.float64)
    if units.size == 0:
        raise ValueError("a bootstrap needs at least one sample")
    if len(units) % groups:
        raise ValueError(f"{len(units)} samples do not divide into {groups} equal groups")
    rng = np.random.default_rng(seed)
    per_chunk = max(1, _CHUNK // units.size)
    draws = [
        statistic(
            units[_rows(len(units), groups, min(per_chunk, resamples - done), block, rng)].reshape(-1, units.size)
        )
        for done in range(0, resamples, per_chunk)
    ]
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(np.concatenate(draws), [tail, 100 - tail])
    return Interval(float(low), float(high), level)


def mean_difference(
    first: Floats, second: Floats, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Interval of `mean(first - second)`, the two being paired unit by unit.

    Raises:
        ValueError: The lengths differ, or there are no samples.
    """
    if len(first) != len(second):
        raise ValueError(f"paired samples differ in number: {len(first)} and {len(second)}")
    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    return interval(difference, _mean, level=level, resamples=resamples, seed=seed)


def median(draws: Floats) -> Floats:
    """The statistic "median"."""
    return np.asarray(np.median(draws, axis=1))


def quantile(q: float) -> Statistic:
    """The statistic "q quantile", 0.95 for p95."""
    return partial(np.quantile, q=q, axis=1)


def _mean(draws: Floats) -> Floats:
    return np.asarray(draws.mean(axis=1))


def _rows(units: int, groups: int, draws: int, block: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """[draws, units] unit numbers: groups with replacement, then circular blocks of consecutive units in each."""
    size = units // groups
    width = max(1, min(block, size))
    chosen = rng.integers(0, groups, size=(draws, groups, 1))
    starts = rng.integers(0, size, size=(draws, groups, -(-size // width), 1))
    within = (starts + np.arange(width)).reshape(draws, groups, -1)[:, :, :size] % size
    return np.asarray((chosen * size + within).reshape(draws, units), dtype=np.intp)
