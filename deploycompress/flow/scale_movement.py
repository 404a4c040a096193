"""extremes of every tensor in every sample -> how far the scales would move, had other samples been drawn.

    w(S) = max(0, max_{i in S} high_i) - min(0, min_{i in S} low_i),   move(n) = q95 |w(S) / w(S') - 1|

over pairs S, S' of n samples drawn with replacement (bootstrap); a scale is w / 255. The decline of move(n) from N/4
to N samples, a straight line in logarithms, says what four times as many would give.

An extreme is the statistic that settles last: a percentile or MSE range moves less than this.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993; Bickel and Sakov 2008 (m out of n draws for
extremes).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploycompress.records.symptoms import Symptom

Floats = NDArray[np.float64]

_PAIRS = 100
_QUANTILE = 0.95
_FEWEST = 8  # a quarter of fewer is one sample
_TIMES = 4
_MOST_MOVEMENT = 0.25  # of the tensor in the middle: a scale that is a quarter too large adds 1.9 dB of noise


@dataclass(frozen=True)
class Settling:
    """How far scales move between two draws of as many samples, as a share of the scale (0.1 for 10 %).

    Attributes:
        samples: Number of samples.
        median: Of the tensor in the middle.
        worst: Of the tensor that moves most.
        tensor: That tensor.
        more: Four times as many samples.
        median_with_more: What they would give the tensor in the middle, by the decline seen so far.
    """

    samples: int
    median: float
    worst: float
    tensor: str
    more: int
    median_with_more: float

    def __str__(self) -> str:
        return (
            f"{self.samples} samples: half of the scales move by up to {100 * self.median:.1f} %, the last one "
            f"({self.tensor}) by {100 * self.worst:.0f} %; {self.more} would give about "
            f"{100 * self.median_with_more:.1f} %"
        )


def settling(tensors: Sequence[str], lows: Floats, highs: Floats, *, seed: int = 0) -> Settling | None:
    """How far the scales have settled; None where fewer than eight samples or no tensor of any width is there.

    Args:
        tensors: Names.
        lows: [samples, tensors] smallest element of each sample.
        highs: [samples, tensors] largest element.
        seed: Of the draws.
    """
    count = len(lows)
    widths = np.maximum(highs.max(axis=0, initial=0), 0) - np.minimum(lows.min(axis=0, initial=0), 0)
    used = np.flatnonzero(np.isfinite(widths) & (widths > 0))
    if count < _FEWEST or not len(used):
        return None
    low, high = np.minimum(lows[:, used], 0), np.maximum(highs[:, used], 0)
    rng = np.random.default_rng(seed)
    sizes = (count // 4, count // 2, count)
    moves = np.array([_movement(low, high, size, rng) for size in sizes])
    middle = np.median(moves, axis=1)
    worst = int(moves[-1].argmax())
    return Settling(
        samples=count,
        median=float(middle[-1]),
        worst=float(moves[-1, worst]),
        tensor=tensors[used[worst]],
        more=_TIMES * count,
        median_with_more=float(middle[-1]) * _TIMES ** _slope(sizes, middle),
    )


def _movement(low: Floats, high: Floats, size: int, rng: np.random.Generator) -> Floats:
    """[tensors] 95 % quantile of the relative difference of the widths that two draws of `size` samples give."""
    drawn = np.empty((2, _PAIRS, low.shape[1]))
    for pair in np.ndindex(2, _PAIRS):
        rows = np.unique(rng.integers(0, len(low), size))
        drawn[pair] = high[rows].max(axis=0) - low[rows].min(axis=0)
    larger, smaller = drawn.max(axis=0), drawn.min(axis=0)
    moved = np.divide(larger - smaller, larger, out=np.zeros_like(larger), where=larger > 0)
    return np.asarray(np.quantile(moved, _QUANTILE, axis=0))


def _slope(sizes: Sequence[int], moves: Floats) -> float:
    """Of log move over log size, between -1 (a straight decline) and 0 (none)."""
    if (moves <= 0).any():
        return 0.0
    slope = np.polyfit(np.log(sizes), np.log(moves), 1)[0]
    return min(max(float(slope), -1.0), 0.0)


def too_few(found: Settling | None, count: int) -> Iterator[Symptom]:
    """Yields a warning where the scales have not settled."""
    if found is None:
        if count < _FEWEST:
            yield _few(f"{count} samples are too few to say how far the scales move", "100 or more are usual")
        return
    if found.median > _MOST_MOVEMENT:
        yield _few(str(found), f"give {_needed(found)} samples or more")


def _needed(found: Settling) -> int:
    """Samples that bring the tensor in the middle to the limit, on the line through the two figures."""
    if found.median_with_more >= found.median:
        return found.more
    slope = math.log(found.median_with_more / found.median) / math.log(_TIMES)
    return math.ceil(found.samples * float((_MOST_MOVEMENT / found.median) ** (1 / slope)))


def _few(found: str, remedy: str) -> Symptom:
    return Symptom("too few samples", "warning", found, "all samples", "the ranges rest on chance", remedy)
