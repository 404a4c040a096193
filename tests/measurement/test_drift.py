from __future__ import annotations

import numpy as np
import pytest

from deploycompress.measurement.drift import drift


def test_steady_noise_is_not_called_drift() -> None:
    # The trend test is at the 1 % level and asks for 5 % of change besides: of 500 noisy series 5 are expected at most
    # (sd 2.2); 15 would be out of reach.
    rng = np.random.default_rng(0)
    wrong = sum(drift(np.exp(rng.normal(scale=0.2, size=60))).unstable for _ in range(500))  # type: ignore[union-attr]
    assert wrong <= 12


def test_one_percent_an_iteration_is_unstable() -> None:
    found = drift(5 * 1.01 ** np.arange(30))
    assert found is not None
    assert found.unstable
    # 29 ln(1.01) = 0.289 relative to the middle; twenty windows see up to one and a half rounds less.
    assert found.change == pytest.approx(0.289, abs=0.016)


def test_speeding_up_is_unstable_too() -> None:
    found = drift(5 * 0.99 ** np.arange(30))
    assert found is not None
    assert found.unstable
    assert found.change < 0


def test_significant_but_tiny_trend_is_stable() -> None:
    found = drift(5 + 0.0001 * np.arange(100))
    assert found is not None
    assert not found.unstable


def test_single_slow_rounds_are_no_drift() -> None:
    times = np.full(40, 5.0) + np.random.default_rng(0).normal(scale=0.01, size=40)
    times[[3, 17, 38]] = 50.0
    found = drift(times)
    assert found is not None
    assert not found.unstable


def test_few_rounds_give_no_answer() -> None:
    assert drift(np.ones(7)) is None
