"""Merging, and what NaN does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deploycompress.calibration.statistics import RunningTensor, Statistics, TensorStatistics, spread
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


CHANNELED = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 6), st.integers(1, 4), st.integers(1, 3)), elements=st.floats(-9, 9, width=32)
)


@given(CHANNELED, st.integers(0, 6), st.sampled_from([1, -1]))
def test_channel_statistics_do_not_depend_on_the_split(values: np.ndarray, cut: int, axis: int) -> None:
    others = (0, 2) if axis == 1 else (0, 1)
    parts = [TensorStatistics.of(part, channel_axis=axis) for part in (values[:cut], values[cut:])]
    merged = parts[0].merge(parts[1])
    assert merged.channel_absmax is not None
    assert merged.channel_sums is not None
    np.testing.assert_array_equal(merged.channel_absmax, np.abs(values).max(axis=others))
    np.testing.assert_array_equal(merged.channel_low, values.min(axis=others))
    np.testing.assert_array_equal(merged.channel_high, values.max(axis=others))
    np.testing.assert_allclose(merged.channel_sums, values.astype(np.float64).sum(axis=others), rtol=1e-12, atol=1e-12)


@given(st.lists(ARRAYS, max_size=6), st.integers(1, 40))
def test_values_that_wait_for_their_bin_are_counted_as_if_they_had_not(parts: list[np.ndarray], batch: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("deploycompress.calibration.statistics._BATCH", batch)
        running = RunningTensor()
        for part in parts:
            running.add(part)
            running.result()
        found = running.result()
    whole = TensorStatistics.of(np.concatenate([np.zeros(0, np.float32), *parts]))
    np.testing.assert_array_equal(found.histogram.counts, whole.histogram.counts)
    assert (found.histogram.exponent, found.count, found.nonfinite) == (
        whole.histogram.exponent,
        whole.count,
        whole.nonfinite,
    )


def test_an_array_may_change_after_it_was_added() -> None:
    values, running = np.ones(5, np.float32), RunningTensor()
    running.add(values)
    values[:] = 7.0
    assert running.result().histogram.bound == 2.0
    assert running.result().histogram.counts[1024 + 512] == 5


def test_channels_are_given_up_where_they_cannot_be_told() -> None:
    seen = TensorStatistics.of(np.ones((2, 3), np.float32), channel_axis=1)
    other = TensorStatistics.of(np.ones((2, 4), np.float32), channel_axis=1)
    assert seen.merge(other).channel_sums is None
    broken = TensorStatistics.of(np.array([[1, np.nan, 2]], np.float32), channel_axis=1)
    assert seen.merge(broken).channel_absmax is None
    assert broken.merge(seen).channel_absmax is None
    assert seen.merge(TensorStatistics.of(np.ones((0, 3), np.float32), channel_axis=1)).channel_absmax is not None
    assert TensorStatistics.of(np.ones(3, np.float32), channel_axis=1).channel_sums is None


@pytest.mark.parametrize("side", [33, 57, 96, 112, 224])
@pytest.mark.parametrize("channels", [2, 5, 64])
def test_spread_positions_are_the_same_in_every_sample_and_reach_every_column(side: int, channels: int) -> None:
    rows, columns = np.indices((side, side), np.float32)
    picture = np.stack([rows, columns] * channels)[:channels]
    values = np.stack([picture, picture + 1000])
    found = spread(values)
    np.testing.assert_array_equal(found[0] + 1000, found[1])
    np.testing.assert_array_equal(found[:1], spread(values[:1]))
    # One step more than asked for where that shares a factor with the side; never fewer than 16 positions, less that.
    assert 1000 <= found[0].size <= 8192
    assert found.shape[2] >= 12
    if found.shape[2] >= 4 * side:
        assert set(found[0, 1]) == set(range(side))
        assert len(set(found[0, 0])) >= side // 3


def test_small_feature_maps_and_other_tensors_are_taken_whole() -> None:
    for shape in ((1, 64, 8, 8), (3, 4, 5, 6), (1, 128, 1536), (7, 100_000)):
        values = np.zeros(shape, np.float32)
        assert spread(values) is values


def test_extremes_and_count_come_from_every_element_of_a_large_feature_map() -> None:
    values = np.zeros((1, 1, 96, 96), np.float32)
    values[0, 0, 0, 1], values[0, 0, 95, 94] = 5.0, -3.0
    found = TensorStatistics.of(values, channel_axis=1)
    assert (found.low, found.high, found.count) == (-3.0, 5.0, 96 * 96)
    assert found.channel_sums is not None
    assert found.channel_sums[0] == 2.0
    assert 0 < found.histogram.counts.sum() < found.count
    assert found.histogram.bound == 8.0  # of the extremes, binned or not, so that any split has the same range


def test_percentiles_of_a_large_feature_map_are_those_of_all_its_elements() -> None:
    from deploycompress.calibration.ranges import percentile

    values = np.random.default_rng(0).standard_normal((8, 4, 112, 112)).astype(np.float32)
    low, high = percentile(TensorStatistics.of(values), 0.99)
    # About 33,000 of 401,408 elements are binned: a standard error of 0.04 % of a 0.5 % tail moves a normal quantile of
    # 2.58 by 0.08 at three sigma; a bin is 0.008 wide.
    np.testing.assert_allclose([low, high], np.quantile(values, [0.005, 0.995]), atol=0.1)
