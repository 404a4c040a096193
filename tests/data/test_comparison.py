"""Equal samples in two sets are paired by name; sets of one distribution are told apart no more often than promised."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.data.comparison import drift, kolmogorov_smirnov, overlap
from deploycompress.data.summary import Summary, summarize
from tests.zoo import normal


def summaries(prefix: str, arrays: np.ndarray) -> list[Summary]:
    return [summarize({"x": array}, None, f"{prefix}{index}") for index, array in enumerate(arrays)]


def test_shared_samples_are_paired_by_name() -> None:
    calibration, evaluation = normal(6, 4), normal(5, 4, seed=1)
    evaluation[2] = calibration[4]
    (symptom,) = overlap(summaries("c", calibration), summaries("e", evaluation))
    assert (symptom.check, symptom.where) == ("overlap", "c4 = e2")
    assert symptom.found.startswith("1 of 5 evaluation samples")


def test_disjoint_sets_pass_in_silence() -> None:
    one, two = summaries("c", normal(40, 64)), summaries("e", normal(60, 64, seed=1))
    assert [*overlap(one, two), *drift(one, two)] == []


def test_another_scale_is_drift_and_the_statistic_is_named() -> None:
    one, two = summaries("c", normal(40, 64)), summaries("e", 3 * normal(40, 64, seed=1))
    (symptom,) = drift(one, two)
    assert symptom.check == "drift"
    assert "of input 'x' differs between calibration" in symptom.found


def test_sequences_of_another_length_are_drift() -> None:
    one = [summarize({"x": np.arange(8.0)}, None, "c")] * 20
    two = [summarize({"x": np.arange(30.0)}, None, "e")] * 20
    assert "the " in next(drift(one, two)).found


def test_false_alarms_on_one_distribution_stay_below_one_in_twenty() -> None:
    # Heavy tails and few samples, the hard case. 200 trials: 5 % would give 10, and 20 is three deviations above.
    rng = np.random.default_rng(3)
    alarms = 0
    for _ in range(200):
        pool = summaries("a", rng.standard_t(3, (60, 16)) * rng.lognormal(0, 1, (60, 1)))
        alarms += any(drift(pool[:30], pool[30:]))
    assert alarms <= 20


def test_too_few_samples_say_nothing() -> None:
    assert list(drift(summaries("c", normal(7, 4)), summaries("e", 9 * normal(7, 4, seed=1)))) == []


@given(st.lists(st.integers(0, 9), min_size=1, max_size=20), st.lists(st.integers(0, 9), min_size=1, max_size=20))
def test_distance_is_the_largest_gap_of_the_distribution_functions(one: list[int], two: list[int]) -> None:
    distance, p_value = kolmogorov_smirnov(np.array(one), np.array(two))
    gaps = [abs(sum(a <= x for a in one) / len(one) - sum(b <= x for b in two) / len(two)) for x in range(10)]
    assert distance == pytest.approx(max(gaps))
    assert 0 <= p_value <= 1


def test_p_value_is_that_of_the_published_tables() -> None:
    # Critical value of the Kolmogorov distribution: 1.3581 at 5 %, 1.6276 at 1 % (Smirnov 1948), large samples.
    size = 20_000
    for critical, level in ((1.3581, 0.05), (1.6276, 0.01)):
        shift = round(critical / np.sqrt(size / 2) * size)
        distance, p_value = kolmogorov_smirnov(np.arange(size), np.arange(size) + shift)
        assert distance == pytest.approx(shift / size)
        assert p_value == pytest.approx(level, rel=0.05)  # the shift is rounded, and Stephens adds 0.1 %
