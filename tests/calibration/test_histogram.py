"""Histograms against brute force over the values themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deploycompress.calibration.histogram import BINS, Histogram, exponent_of

FLOATS = st.floats(-(2.0**100), 2.0**100, width=32)
ARRAYS = hnp.arrays(np.float32, st.integers(1, 60), elements=FLOATS)


def brute_force(values: np.ndarray) -> tuple[int, np.ndarray]:
    """Bins by exact integer arithmetic on each value: floor(x * 1024 / r) as Fractions would give it."""
    from fractions import Fraction

    bound = max(abs(float(v)) for v in values)
    exponent = -60
    while 2.0**exponent <= bound:
        exponent += 1
    counts = np.zeros(BINS, np.int64)
    for v in values:
        k = (Fraction(float(v)) * BINS / 2 / Fraction(2) ** exponent).__floor__() + BINS // 2
        counts[k] += 1
    return exponent, counts


@given(ARRAYS)
def test_counts_equal_brute_force(values: np.ndarray) -> None:
    exponent, counts = brute_force(values)
    found = Histogram.of(values)
    assert found.exponent == exponent
    np.testing.assert_array_equal(found.counts, counts)


@given(ARRAYS, st.integers(0, 60))
def test_any_split_of_the_data_merges_to_the_same_histogram(values: np.ndarray, cut: int) -> None:
    cut = min(cut, len(values))
    whole = Histogram.of(values)
    merged = Histogram.of(values[:cut]).merge(Histogram.of(values[cut:]))
    assert merged.exponent == whole.exponent
    np.testing.assert_array_equal(merged.counts, whole.counts)


@given(ARRAYS, ARRAYS, ARRAYS)
def test_merge_is_associative(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> None:
    x, y, z = Histogram.of(a), Histogram.of(b), Histogram.of(c)
    left, right = x.merge(y).merge(z), x.merge(y.merge(z))
    assert left.exponent == right.exponent
    np.testing.assert_array_equal(left.counts, right.counts)


def test_widening_far_keeps_every_count() -> None:
    values = np.array([-1.0, -1e-3, 0.0, 1e-3, 0.999], np.float32)
    wide = Histogram.of(values).widened(100)
    assert wide.counts.sum() == len(values)
    assert wide.counts[BINS // 2 - 1] == 2  # the negative values
    assert wide.counts[BINS // 2] == 3  # zero and the positive values


def test_empty_data_is_an_empty_histogram() -> None:
    assert Histogram.of(np.zeros(0, np.float32)).counts.sum() == 0


@pytest.mark.parametrize(("bound", "exponent"), [(0.99, 0), (1.0, 1), (1.5, 1), (2.0, 2), (0.5, 0), (0.0, -60)])
def test_the_largest_value_falls_inside_the_range(bound: float, exponent: int) -> None:
    assert exponent_of(bound) == exponent
