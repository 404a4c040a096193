"""The entropy search against its definition, written as loops over the values themselves in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.calibration import entropy as kl
from deploycompress.calibration.histogram import BINS, Histogram
from deploycompress.calibration.ranges import entropy, minmax
from deploycompress.calibration.statistics import TensorStatistics

RNG = np.random.default_rng(0)
SETS = {
    "normal": RNG.normal(0, 1, 50_000),
    "laplace": RNG.laplace(0, 1, 200_000),
    "relu": np.maximum(RNG.normal(0, 2, 50_000), 0),
    "asymmetric": np.where(RNG.random(50_000) < 0.5, RNG.normal(0, 1, 50_000) ** 3, RNG.uniform(-1, 0, 50_000)),
    "shifted": RNG.normal(5, 0.1, 50_000),
    "negative": -np.abs(RNG.normal(0, 1, 20_000)) - 0.25,
}


def by_definition(values: np.ndarray, bound: float, lower: int, upper: int, levels: int) -> float:
    """KL(P || Q) of one range, straight from the values."""
    width = 2 * bound / BINS
    bins: dict[int, int] = {}
    for k in np.floor(values / width).astype(int):
        bins[int(k)] = bins.get(int(k), 0) + 1
    bins[0] = min(bins.get(0, 0), bins.get(1, 0))
    n = lower + upper
    inside = [bins.get(k, 0) for k in range(-lower, upper)]
    p = list(map(float, inside))
    p[0] += sum(count for k, count in bins.items() if k < -lower)
    p[-1] += sum(count for k, count in bins.items() if k >= upper)
    q = [0.0] * n
    runs: dict[int, list[int]] = {}
    for k in range(n):
        runs.setdefault(k * levels // n, []).append(k)
    for run in runs.values():
        shared_by = [k for k in run if p[k] > 0]
        mass = sum(inside[j] for j in run)
        for k in shared_by:
            q[k] = mass / len(shared_by)
    if sum(q) < 0.99 * sum(p):
        return math.inf
    divergence = 0.0
    for a, b in zip(p, q, strict=True):
        if a > 0 and b == 0:
            return math.inf
        if a > 0:
            divergence += a / sum(p) * math.log((a / sum(p)) / (b / sum(q)))
    return divergence


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("share", [0.3, 0.55, 0.8, 1.0])
def test_divergence_is_that_of_the_definition(name: str, share: float) -> None:
    values = SETS[name].astype(np.float32).astype(np.float64)
    histogram = Histogram.of(values)
    lower, upper = (math.ceil(share * BINS / 2 * side) for side in (float(values.min() < 0), 1.0))
    found = kl.divergence(histogram.counts, np.array([lower]), np.array([upper]), 255)[0]
    expected = by_definition(values, histogram.bound, lower, upper, 255)
    # Running sums of counts up to 2e5 * log(2e5) lose at most 1e-16 of 2e6 in each of 255 differences.
    assert found == expected or abs(found - expected) < 1e-10


@given(
    counts=st.lists(st.integers(0, 3), min_size=32, max_size=32),
    lower=st.integers(0, 16),
    upper=st.integers(1, 16),
    levels=st.integers(2, 8),
)
def test_divergence_of_sparse_counts_is_that_of_the_definition(
    counts: list[int], lower: int, upper: int, levels: int
) -> None:
    if lower + upper < levels:
        return
    padded = np.zeros(BINS, np.int64)
    padded[BINS // 2 - 16 : BINS // 2 + 16] = counts
    values = np.repeat(np.arange(-16, 16) + 0.5, counts)
    found = kl.divergence(padded, np.array([lower]), np.array([upper]), levels)[0]
    expected = by_definition(values, BINS / 2, lower, upper, levels)
    if not any(padded[np.arange(BINS) != BINS // 2]):
        return  # nothing but zeros: any range is exact
    assert found == expected or abs(found - expected) < 1e-12


@pytest.mark.parametrize("name", SETS)
def test_the_range_chosen_is_the_best_of_hundreds(name: str) -> None:
    values = SETS[name].astype(np.float32)
    histogram = TensorStatistics.of(values).histogram
    width = 2 * histogram.bound / BINS
    low, high = minmax(TensorStatistics.of(values))
    lower, upper = kl.candidates(math.ceil(-low / width), math.floor(high / width) + 1, kl.LEVELS)
    # ONNX Runtime's defaults leave one candidate; ours keeps 128 bins or more.
    assert len(lower) > 200
    kept = entropy(TensorStatistics.of(values))
    found = by_definition(values, histogram.bound, math.ceil(-kept[0] / width), math.ceil(kept[1] / width), kl.LEVELS)
    tried = range(0, len(lower), max(1, len(lower) // 6))
    best = min(by_definition(values, histogram.bound, int(lower[i]), int(upper[i]), kl.LEVELS) for i in tried)
    assert found <= best + 1e-10  # the tolerance of the comparison above
    assert low <= kept[0] <= 0 <= kept[1] <= high


def test_long_tails_are_clipped_and_flat_values_are_not() -> None:
    tails, flat = RNG.laplace(0, 1, 1_000_000).astype(np.float32), RNG.uniform(-1, 1, 1_000_000).astype(np.float32)
    assert entropy(TensorStatistics.of(tails))[1] < 0.8 * float(tails.max())
    assert entropy(TensorStatistics.of(flat)) == minmax(TensorStatistics.of(flat))


def test_values_far_from_zero_are_not_all_clipped() -> None:
    values = SETS["shifted"].astype(np.float32)
    _, high = entropy(TensorStatistics.of(values))
    assert (values > high).mean() <= 0.01


def test_the_spike_of_a_relu_at_zero_does_not_choose_the_range() -> None:
    values = np.maximum(RNG.normal(0, 2, 50_000), 0).astype(np.float32)
    more_zeros = np.concatenate([values, np.zeros(1_000_000, np.float32)])
    assert entropy(TensorStatistics.of(values)) == entropy(TensorStatistics.of(more_zeros))


@pytest.mark.parametrize("values", [np.zeros(9), np.ones(9), np.array([-3.0, 0.0, 0.0]), np.zeros(0)])
def test_degenerate_tensors_keep_their_extremes(values: np.ndarray) -> None:
    statistics = TensorStatistics.of(values.astype(np.float32))
    assert entropy(statistics) == minmax(statistics)
