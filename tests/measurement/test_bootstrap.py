from __future__ import annotations

import numpy as np
import pytest

from deploycompress.measurement import bootstrap


def mean_of(values: np.ndarray) -> bootstrap.Statistic:
    return lambda weights: weights @ values / weights.sum(axis=1)


def test_interval_of_a_mean_covers_it_at_its_level() -> None:
    # 400 intervals at 95 % of 100 normal values: Binomial(400, 0.95) has mean 380, sd 4.4; the percentile bootstrap is
    # half a point low at n = 100. Outside [360, 395] (-4.6 sd, +3.4 sd) the method is wrong.
    rng = np.random.default_rng(7)
    covered = 0
    for i in range(400):
        found = bootstrap.interval(mean_of(rng.normal(size=100)), np.ones(100), draws=400, seed=i)
        covered += found.low <= 0 <= found.high
    assert 360 <= covered <= 395


def test_equal_samples_in_one_cell_are_drawn_as_if_they_were_apart() -> None:
    together = bootstrap.interval(mean_of(np.array([0.0, 1.0])), np.array([60.0, 40.0]), draws=20_000)
    apart = bootstrap.interval(mean_of(np.repeat([0.0, 1.0], [60, 40])), np.ones(100), draws=20_000)
    # sd of a mean of 100 is 0.049; the 2.5 % quantile of 20,000 draws has a standard error of 0.049 * 2.7 / 141 =
    # 0.001, and the values lie on a grid of 0.01.
    assert together.low == pytest.approx(apart.low, abs=0.011)
    assert together.high == pytest.approx(apart.high, abs=0.011)
    assert apart.low == pytest.approx(0.4 - 1.96 * 0.049, abs=0.012)


def test_same_seed_gives_the_same_interval_and_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    statistic = mean_of(np.random.default_rng(0).normal(size=50))
    first = bootstrap.interval(statistic, np.ones(50), seed=3)
    assert bootstrap.interval(statistic, np.ones(50), seed=3) == first
    monkeypatch.setattr(bootstrap, "_CHUNK", 50)  # one draw at a time
    again = bootstrap.interval(statistic, np.ones(50), seed=3)
    assert (again.low, again.high) == pytest.approx((first.low, first.high), abs=1e-12)


def test_no_samples_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        bootstrap.interval(lambda weights: weights[:, 0], np.empty(0))
