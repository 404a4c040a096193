from __future__ import annotations

import numpy as np
import pytest

from deploycompress.measurement import bootstrap


def covered(intervals: list[bootstrap.Interval], truth: float) -> int:
    return sum(interval.low <= truth <= interval.high for interval in intervals)


def test_median_interval_covers_the_true_median_at_its_level() -> None:
    # 400 intervals at 95 %: with true coverage 0.95 the count is Binomial(400, 0.95), mean 380, sd 4.4; the percentile
    # bootstrap of the median is known to be a point or two off at n = 41. Outside [360, 395] (-4.6 sd, +3.4 sd) the
    # method is wrong: dividing the tails by two or forgetting to resample lands far out.
    rng = np.random.default_rng(7)
    found = [bootstrap.interval(rng.lognormal(size=41), bootstrap.median, resamples=400, seed=i) for i in range(400)]
    assert 360 <= covered(found, 1.0) <= 395


def test_block_bootstrap_covers_correlated_rounds_where_the_ordinary_one_does_not() -> None:
    # An AR(1) series with coefficient 0.6 has a mean with twice the standard error of independent rounds
    # (sqrt(1.6 / 0.4) = 2), so the ordinary bootstrap covers about 2 Phi(0.98) - 1 = 67 %.
    rng = np.random.default_rng(3)
    ordinary, blocks = [], []
    for i in range(300):
        noise = rng.normal(size=200)
        series = np.empty(200)
        series[0] = noise[0] / 0.8  # stationary start: sd 1 / sqrt(1 - 0.6^2)
        for t in range(1, 200):
            series[t] = 0.6 * series[t - 1] + noise[t]
        mean = lambda draws: draws.mean(axis=1)  # noqa: E731
        ordinary.append(bootstrap.interval(series, mean, resamples=300, seed=i))
        blocks.append(bootstrap.interval(series, mean, resamples=300, block=15, seed=i))
    assert covered(ordinary, 0.0) < 240
    assert covered(blocks, 0.0) > 255


def test_groups_widen_the_interval_to_the_spread_between_processes() -> None:
    # Five processes at levels -2 .. 2 with hardly any noise inside: only the spread between them is uncertain.
    samples = np.repeat(np.arange(-2.0, 3.0), 40) + np.random.default_rng(0).normal(scale=0.01, size=200)
    mean = lambda draws: draws.mean(axis=1)  # noqa: E731
    alone = bootstrap.interval(samples, mean)
    grouped = bootstrap.interval(samples, mean, groups=5)
    # Standard errors: sqrt(2) / sqrt(200) = 0.1 against sqrt(2) / sqrt(5) = 0.63.
    assert alone.high - alone.low < 0.5 < 2.0 < grouped.high - grouped.low


def test_rows_keep_whole_blocks_and_whole_groups() -> None:
    rows = bootstrap._rows(12, 3, 500, 4, np.random.default_rng(0)).reshape(500, 3, 4)
    assert (rows // 4 == rows[:, :, :1] // 4).all()  # every drawn part stays inside one group of four
    assert ((np.diff(rows % 4, axis=2) - 1) % 4 == 0).all()  # and runs on circularly


def test_runs_of_a_round_are_drawn_together() -> None:
    samples = np.array([[1.0, 1.0], [5.0, 5.0]])
    found = bootstrap.interval(samples, lambda draws: draws.std(axis=1), resamples=500)
    # Two rounds are drawn: (1,1), (5,5) or one of each; the spread is 0 or 2 and never that of three 1s and one 5.
    assert {found.low, found.high} == {0.0, 2.0}


def test_same_seed_gives_the_same_interval_and_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = np.random.default_rng(0).normal(size=50)
    first = bootstrap.interval(samples, bootstrap.quantile(0.95), seed=3)
    assert bootstrap.interval(samples, bootstrap.quantile(0.95), seed=3) == first
    monkeypatch.setattr(bootstrap, "_CHUNK", 50)  # one draw at a time
    again = bootstrap.interval(samples, bootstrap.quantile(0.95), seed=3)
    assert again.low == pytest.approx(first.low, abs=0.3)
    assert again.high == pytest.approx(first.high, abs=0.3)


def test_quantile_interval_brackets_the_sample_quantile() -> None:
    samples = np.random.default_rng(0).lognormal(size=500)
    found = bootstrap.interval(samples, bootstrap.quantile(0.95))
    assert found.low < np.quantile(samples, 0.95) < found.high


def test_mean_difference_uses_the_pairing() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(scale=10, size=100)
    found = bootstrap.mean_difference(base + 0.5 + rng.normal(scale=0.1, size=100), base)
    # Unpaired, the standard error would be 1.4; paired it is 0.01.
    assert 0.4 < found.low < 0.5 < found.high < 0.6


def test_no_samples_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        bootstrap.interval(np.empty(0), bootstrap.median)


def test_unequal_groups_and_unequal_pairs_are_errors() -> None:
    with pytest.raises(ValueError, match="10 samples do not divide into 3 equal groups"):
        bootstrap.interval(np.ones(10), bootstrap.median, groups=3)
    with pytest.raises(ValueError, match="differ in number: 2 and 3"):
        bootstrap.mean_difference(np.ones(2), np.ones(3))
