from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.errors import DataRejectedError, UnsupportedError
from deploycompress.measurement.metrics.classes import TOP1, TOP5, most_frequent


def test_top1_and_top5_match_a_count_by_hand() -> None:
    scores = np.zeros((3, 10), np.float32)
    scores[0, 4] = 1.0  # right
    scores[1, :5] = [5, 4, 3, 2, 1]  # label 4 is the fifth: wrong, but among five
    scores[2, :6] = [6, 5, 4, 3, 2, 1]  # label 5 is the sixth
    assert TOP1.table(scores, [4, 4, 5]).tolist() == [[4, 4], [4, 0], [5, 0]]
    assert TOP1.of(TOP1.table(scores, [4, 4, 5])) == pytest.approx(1 / 3)
    assert TOP5.of(TOP5.table(scores, [4, 4, 5])) == pytest.approx(2 / 3)


@given(st.integers(0, 2**32 - 1))
def test_top5_matches_sorting_in_python(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, size=(7, 11)).astype(np.float32)  # many ties
    labels = rng.integers(0, 11, size=7).tolist()
    found = zip(scores, labels, TOP1.table(scores, labels), TOP5.table(scores, labels), strict=True)
    for row, label, (_, top1), (top5,) in found:
        ranked = sorted(range(11), key=lambda c, row=row: (-row[c], c))  # the first of equals wins, as in arg-max
        assert top1 == ranked[0]
        assert top5 == (label in ranked[:5])


@pytest.mark.parametrize("at", [3, 5])
def test_sample_with_a_nan_score_is_wrong_wherever_it_stands(at: int) -> None:
    scores = np.zeros((1, 10))
    scores[0, 3] = 1.0
    scores[0, at] = np.nan  # arg-max would return this place
    assert TOP1.of(TOP1.table(scores, [3])) == 0
    assert TOP5.of(TOP5.table(scores, [3])) == 0


def test_predicted_class_numbers_are_taken_as_they_are() -> None:
    assert TOP1.table(np.array([2, 1, 0]), [2, 2, 0]).tolist() == [[2, 2], [2, 1], [0, 0]]


def test_few_classes_have_no_top5() -> None:
    with pytest.raises(UnsupportedError, match="top-5 says nothing of 3 classes"):
        TOP5.table(np.eye(3), [0, 1, 2])


def test_label_beyond_the_classes_is_an_error_that_suspects_counting_from_one() -> None:
    with pytest.raises(DataRejectedError, match=r"label 3 is no class of the model, which has 3 \(0 to 2\).*from 1"):
        TOP1.table(np.eye(3), [1, 2, 3])
    with pytest.raises(DataRejectedError, match=r"label -1 is no class"):
        TOP1.table(np.eye(3), [0, 1, -1])


@pytest.mark.parametrize("labels", [[0, None], [0, 1.5], [0, math.nan], [0, np.zeros(2)]])
def test_label_that_is_no_class_number_is_unsupported(labels: list) -> None:
    with pytest.raises(UnsupportedError, match=r"top-1 needs a class number.*(None|1\.5|nan|array \[2\])"):
        TOP1.table(np.eye(2), labels)


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 1), (5, 3)])
def test_output_that_is_no_scores_is_unsupported(shape: tuple[int, ...]) -> None:
    with pytest.raises(UnsupportedError, match=r"needs scores \[samples, classes\], and the output is float64\["):
        TOP1.table(np.zeros(shape), [0, 0])


def test_recall_by_class_and_the_most_frequent_class_match_a_count_by_hand() -> None:
    table = np.array([[0, 0], [1, 1], [1, 0], [1, 2], [2, 2]], float)
    assert TOP1.per_class is not None
    assert TOP1.per_class(table) == pytest.approx({0: 1.0, 1: 1 / 3, 2: 1.0})
    assert most_frequent(table) == (1, 0.6)
