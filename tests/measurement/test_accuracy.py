from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.errors import DataRejectedError, UnsupportedError
from deploycompress.measurement.accuracy import accuracy, drop_interval, joined, mcnemar, outcomes, wilson


def test_top1_and_top5_match_a_count_by_hand() -> None:
    scores = np.zeros((3, 10), np.float32)
    scores[0, 4] = 1.0  # right
    scores[1, :5] = [5, 4, 3, 2, 1]  # label 4 is the fifth: wrong, but among five
    scores[2, :6] = [6, 5, 4, 3, 2, 1]  # label 5 is the sixth
    found = outcomes(scores, [4, 4, 5])
    assert found.top1.tolist() == [True, False, False]
    assert found.top5 is not None
    assert found.top5.tolist() == [True, True, False]


@given(st.integers(0, 2**32 - 1))
def test_top5_matches_sorting_in_python(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, size=(7, 11)).astype(np.float32)  # many ties
    labels = rng.integers(0, 11, size=7).tolist()
    found = outcomes(scores, labels)
    for row, label, top1, top5 in zip(scores, labels, found.top1, found.top5, strict=True):
        ranked = sorted(range(11), key=lambda c, row=row: (-row[c], c))  # the first of equals wins, as in arg-max
        assert top1 == (ranked[0] == label)
        assert top5 == (label in ranked[:5])


@pytest.mark.parametrize("at", [3, 5])
def test_sample_with_a_nan_score_is_wrong_wherever_it_stands(at: int) -> None:
    scores = np.zeros((1, 10))
    scores[0, 3] = 1.0
    scores[0, at] = np.nan  # arg-max would return this place
    found = outcomes(scores, [3])
    assert not found.top1.any()
    assert found.top5 is not None
    assert not found.top5.any()


def test_predicted_class_numbers_are_taken_as_they_are() -> None:
    assert outcomes(np.array([2, 1, 0]), [2, 2, 0]).top1.tolist() == [True, False, True]


def test_few_classes_have_no_top5() -> None:
    assert outcomes(np.eye(3), [0, 1, 2]).top5 is None


def test_label_beyond_the_classes_is_an_error_that_suspects_counting_from_one() -> None:
    with pytest.raises(DataRejectedError, match=r"label 3 is no class of the model, which has 3 \(0 to 2\).*from 1"):
        outcomes(np.eye(3), [1, 2, 3])
    with pytest.raises(DataRejectedError, match=r"label -1 is no class"):
        outcomes(np.eye(3), [0, 1, -1])


@pytest.mark.parametrize("labels", [[0, None], [0, 1.5], [0, math.nan]])
def test_label_that_is_no_class_number_is_unsupported(labels: list) -> None:
    with pytest.raises(UnsupportedError, match=r"class number for every sample.*(None|1\.5|nan)"):
        outcomes(np.eye(2), labels)


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 1), (5, 3)])
def test_output_that_is_no_scores_is_unsupported(shape: tuple[int, ...]) -> None:
    with pytest.raises(UnsupportedError, match=r"needs scores \[samples, classes\], and the output is float64\["):
        outcomes(np.zeros(shape), [0, 0])


def test_batches_join_in_order() -> None:
    parts = [outcomes(np.eye(10), list(range(10))), outcomes(np.eye(10)[:2], [0, 5])]
    assert joined(parts).top1.tolist() == [True] * 11 + [False]


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
    baseline = np.array([True] * 90 + [False] * 10)
    correct = np.array([True] * 85 + [False] * 5 + [True] * 2 + [False] * 8)
    found = accuracy(correct, baseline)
    assert (found.value, found.lost, found.gained, found.drop) == (0.87, 5, 2, pytest.approx(0.03))
    assert found.drop_interval is not None
    assert found.drop_interval.low < 0.03 < found.drop_interval.high
    # Paired: sqrt(7 - 9 / 100) / 100 = 0.026; unpaired it would be sqrt(0.09 + 0.113) / 10 = 0.045, twice as wide.
    assert found.drop_interval.high - found.drop_interval.low < 4.5 * 0.026
    assert found.p_value == mcnemar(5, 2)


def test_baseline_has_no_drop() -> None:
    found = accuracy(np.array([True, False]))
    assert (found.drop, found.drop_interval, found.p_value) == (None, None, None)


def test_models_that_agree_everywhere_still_have_an_interval_of_some_width() -> None:
    # "No sample of 100 flipped" does not prove a drop of exactly zero: the rule of three allows up to 3 %.
    found = drop_interval(0, 0, 100)
    assert 0.005 < found.high < 0.05
    assert found.low == pytest.approx(-found.high, abs=0.01)


def test_drop_interval_covers_the_true_drop_at_its_level() -> None:
    # 400 data sets of 300 samples, each lost with probability 4 % and gained with 2 %. With true coverage 95 % the
    # count is Binomial(400, 0.95): mean 380, sd 4.4; four sd either way. An unpaired or a 90 % interval lands outside.
    rng = np.random.default_rng(11)
    counts = rng.multinomial(300, [0.04, 0.02, 0.94], size=400)
    covered = sum(
        not drop_interval(int(lost), int(gained), 300, resamples=1000, seed=i).excludes(0.02)
        for i, (lost, gained, _) in enumerate(counts)
    )
    assert 362 <= covered <= 397


def test_outcomes_of_different_data_are_an_error() -> None:
    with pytest.raises(ValueError, match="differ in number: 2 and 3"):
        accuracy(np.ones(3, bool), np.ones(2, bool))
