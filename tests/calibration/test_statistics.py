"""Merging, and what NaN does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deploycompress.calibration.statistics import Statistics, TensorStatistics
from deploycompress.errors import DataRejectedError

ARRAYS = hnp.arrays(np.float32, st.integers(0, 30), elements=st.floats(width=32, allow_nan=True))


@given(ARRAYS, st.integers(0, 30))
def test_any_split_merges_to_the_same_statistics(values: np.ndarray, cut: int) -> None:
    cut = min(cut, len(values))
    whole = TensorStatistics.of(values)
    merged = TensorStatistics.of(values[:cut]).merge(TensorStatistics.of(values[cut:]))
    assert (merged.count, merged.low, merged.high, merged.nonfinite) == (
        whole.count,
        whole.low,
        whole.high,
        whole.nonfinite,
    )
    np.testing.assert_array_equal(merged.histogram.counts, whole.histogram.counts)


def test_nan_is_counted_and_left_out_of_the_range() -> None:
    statistics = TensorStatistics.of(np.array([1.0, np.nan, -2.0, np.inf], np.float32))
    assert (statistics.count, statistics.nonfinite, statistics.low, statistics.high) == (2, 2, -2.0, 1.0)


def test_require_finite_names_the_tensor() -> None:
    statistics = Statistics({"hidden": TensorStatistics.of(np.array([np.nan], np.float32))}, 1)
    with pytest.raises(DataRejectedError, match=r"tensor 'hidden' held 1 NaN or infinite values"):
        statistics.require_finite()


def test_merge_keeps_tensors_known_to_one_side() -> None:
    a = Statistics({"x": TensorStatistics.of(np.ones(2, np.float32))}, 1)
    b = Statistics({"y": TensorStatistics.of(np.ones(3, np.float32))}, 2)
    merged = a.merge(b)
    assert set(merged) == {"x", "y"}
    assert merged.samples == 3
