from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from deploycompress.measurement.accuracy import accuracy, mcnemar, share_drop_interval, wilson
from deploycompress.measurement.metrics.choice import METRICS, named
from deploycompress.measurement.metrics.classes import TOP1


def decided(right: list[bool]) -> np.ndarray:
    """A table of samples of class 0, predicted right or as class 1."""
    return np.array([[0.0, 0.0 if one else 1.0] for one in right])


def test_wilson_matches_the_published_example() -> None:
    # Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I: 81 of 263 and 0 of 20.
    assert (wilson(81, 263).low, wilson(81, 263).high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert (wilson(0, 20).low, wilson(0, 20).high) == pytest.approx((0.0, 0.1611), abs=5e-5)


@pytest.mark.parametrize(("share", "count"), [(0.5, 50), (0.9, 200), (0.98, 360)])
def test_wilson_covers_the_true_share_at_its_level(share: float, count: int) -> None:
    # Exact coverage by summing the binomial, no simulation. Wilson's is known to dip a few points below 95 % near the
    # ends and to average 95 %; below 93 % or above 97.5 % for these cases the formula is wrong.
    pmf = [math.comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(count + 1)]
    covered = sum(p for k, p in enumerate(pmf) if not wilson(k, count).excludes(share))
    assert 0.93 < covered < 0.975


@pytest.mark.parametrize(("lost", "gained"), [*itertools.product(range(6), range(6)), (3, 14), (20, 7)])
def test_mcnemar_matches_enumeration(lost: int, gained: int) -> None:
    flips, fewer = lost + gained, min(lost, gained)
    tail = sum(Fraction(math.comb(flips, k), 2**flips) for k in range(fewer + 1))
    assert mcnemar(lost, gained) == pytest.approx(float(min(Fraction(1), 2 * tail)), rel=1e-12)


def test_mcnemar_of_many_flips_does_not_overflow() -> None:
    assert mcnemar(30_000, 30_000) == pytest.approx(1.0)
    assert mcnemar(25_000, 30_000) == pytest.approx(0.0, abs=1e-50)


def test_drop_is_paired_sample_by_sample() -> None:
    baseline = decided([True] * 90 + [False] * 10)
    table = decided([True] * 85 + [False] * 5 + [True] * 2 + [False] * 8)
    found = accuracy(TOP1, table, baseline)
    assert (found.value, found.lost, found.gained, found.drop) == (0.87, 5, 2, pytest.approx(0.03))
    assert found.drop_interval is not None
    assert found.drop_interval.low < 0.03 < found.drop_interval.high
    # Paired: sqrt(7 - 9 / 100) / 100 = 0.026; unpaired it would be sqrt(0.09 + 0.113) / 10 = 0.045, twice as wide.
    assert found.drop_interval.high - found.drop_interval.low < 4.5 * 0.026
    assert found.p_value == mcnemar(5, 2)
    assert found.classes[0].drop == pytest.approx(0.03)


def test_baseline_has_no_drop() -> None:
    found = accuracy(TOP1, decided([True, False]))
    assert (found.drop, found.drop_interval, found.p_value) == (None, None, None)


@pytest.mark.parametrize("name", [metric.name for metric in METRICS if metric.name != "top-5"])
def test_drop_is_positive_where_the_model_is_worse_whichever_way_the_metric_counts(name: str) -> None:
    rng = np.random.default_rng(0)
    metric, count = named(name), 400
    truth = rng.integers(0, 2, count).astype(float)
    if metric.right is not None:
        good, bad = (np.where(rng.random(count) < wrong, 1 - truth, truth) for wrong in (0.05, 0.3))
        better, worse = np.stack([truth, good], 1), np.stack([truth, bad], 1)
    elif name in ("pearson", "spearman"):
        better, worse = (np.stack([truth + noise * rng.normal(size=count), truth], 1) for noise in (0.1, 1.0))
    else:
        levels = (1.0, 2.0) if not metric.higher_is_better else (2.0, 1.0)
        better, worse = (np.stack([level + 0.1 * rng.normal(size=count), np.ones(count)], 1) for level in levels)
    found = accuracy(metric, worse, better)
    assert found.drop is not None
    assert found.drop_interval is not None
    assert 0 < found.drop_interval.low < found.drop < found.drop_interval.high
    assert abs(found.drop) == pytest.approx(abs(metric.of(better) - metric.of(worse)))
    assert found.interval.low < found.value < found.interval.high


def test_models_that_decide_alike_have_an_f1_drop_of_some_width() -> None:
    table = decided([True] * 95 + [False] * 5)
    table[::2, :] = 1 - table[::2, :]
    found = accuracy(named("f1-macro"), table, table).drop_interval
    assert found is not None
    assert 0.003 < found.high < 0.05
    assert found.low == pytest.approx(-found.high, abs=0.015)


def test_models_that_agree_everywhere_still_have_an_interval_of_some_width() -> None:
    # "No sample of 100 flipped" does not prove a drop of exactly zero: the rule of three allows up to 3 %.
    found = share_drop_interval(0, 0, 100)
    assert 0.005 < found.high < 0.05
    assert found.low == pytest.approx(-found.high, abs=0.01)


def test_drop_interval_covers_the_true_drop_at_its_level() -> None:
    # 400 data sets of 300 samples, each lost with probability 4 % and gained with 2 %. With true coverage 95 % the
    # count is Binomial(400, 0.95): mean 380, sd 4.4; four sd either way. An unpaired or a 90 % interval lands outside.
    rng = np.random.default_rng(11)
    counts = rng.multinomial(300, [0.04, 0.02, 0.94], size=400)
    covered = sum(
        not share_drop_interval(int(lost), int(gained), 300, draws=1000, seed=i).excludes(0.02)
        for i, (lost, gained, _) in enumerate(counts)
    )
    assert 362 <= covered <= 397


def test_outcomes_of_different_data_are_an_error() -> None:
    with pytest.raises(ValueError, match="differ in number: 2 and 3"):
        accuracy(TOP1, decided([True] * 3), decided([True] * 2))
