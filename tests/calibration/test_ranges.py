"""Range choices against searches over the values themselves in float64."""

from __future__ import annotations

import numpy as np
import pytest

from deploycompress.calibration.ranges import minmax, mse, percentile
from deploycompress.calibration.statistics import TensorStatistics

RNG = np.random.default_rng(0)
SETS = {
    "normal": RNG.normal(0, 1, 50_000),
    "relu": np.maximum(RNG.normal(0, 2, 50_000), 0),
    "outlier": np.concatenate([RNG.normal(0, 0.04, 50_000), [3.0]]),
    "shifted": RNG.normal(5, 0.1, 50_000),
}


def quantization_error(values: np.ndarray, low: float, high: float) -> float:
    """Mean squared error of an 8-bit affine grid over [low, high]."""
    scale = (high - low) / 255
    zero = np.rint(-low / scale)
    codes = np.clip(np.rint(values / scale) + zero, 0, 255)
    return float(np.mean(((codes - zero) * scale - values) ** 2))


@pytest.mark.parametrize("name", SETS)
def test_minmax_is_the_extremes_and_zero(name: str) -> None:
    values = SETS[name].astype(np.float32)
    low, high = minmax(TensorStatistics.of(values))
    assert low == min(float(values.min()), 0.0)
    assert high == max(float(values.max()), 0.0)


@pytest.mark.parametrize("name", SETS)
def test_percentile_brackets_the_exact_quantile_by_one_bin(name: str) -> None:
    values = SETS[name].astype(np.float32)
    statistics = TensorStatistics.of(values)
    low, high = percentile(statistics, 0.99)
    bin_width = 2 * statistics.histogram.bound / 2048
    # The histogram knows a quantile to one bin; both ends are widened to hold zero.
    assert abs(low - min(float(np.quantile(values, 0.005)), 0.0)) <= bin_width
    assert abs(high - max(float(np.quantile(values, 0.995)), 0.0)) <= bin_width


@pytest.mark.parametrize("name", SETS)
def test_mse_is_as_good_as_the_best_of_a_search_over_the_values(name: str) -> None:
    values = SETS[name].astype(np.float32).astype(np.float64)
    low, high = minmax(TensorStatistics.of(values.astype(np.float32)))
    shares = np.linspace(0.25, 1.0, 400)
    best = min(quantization_error(values, low * s, high * s) for s in shares)
    found = quantization_error(values, *mse(TensorStatistics.of(values.astype(np.float32))))
    # The search steps by 1/64 and sees values rounded to half a bin; 5 % covers both on these sets.
    assert found <= 1.05 * best


def test_mse_clips_a_lone_outlier_when_the_rest_gains() -> None:
    values = np.concatenate([RNG.normal(0, 0.04, 2_000_000), [3.0]]).astype(np.float32)
    _, high = mse(TensorStatistics.of(values))
    assert high < 2.0


def test_a_constant_zero_tensor_has_an_empty_range() -> None:
    assert mse(TensorStatistics.of(np.zeros(10, np.float32))) == (0.0, 0.0)
