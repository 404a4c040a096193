"""Classes are absent or too frequent only beyond what drawing evenly would do."""

from __future__ import annotations

import numpy as np
import pytest

from deploycompress.data.classes import balance
from deploycompress.data.source import Label
from deploycompress.data.summary import Summary


def labelled(labels: list[Label]) -> list[Summary]:
    return [Summary(str(index), label, b"", {}) for index, label in enumerate(labels)]


def names(labels: list[Label], classes: int | None = None) -> list[str]:
    return [symptom.check for symptom in balance(labelled(labels), classes)]


def test_even_classes_pass_in_silence() -> None:
    assert names([n % 10 for n in range(260)], 10) == []


def test_even_draws_are_rarely_called_uneven() -> None:
    # Two bounds of one in a hundred each: at most 18 of 900 are expected, and 30 is three deviations above.
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, 10, size).tolist() for size in (8, 30, 100) for _ in range(300)]
    assert sum(bool(names(draw, 10)) for draw in draws) <= 30


def test_natural_differences_of_frequency_pass() -> None:
    counts = (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)  # the MNIST test set
    assert names([label for label, count in enumerate(counts) for _ in range(count)], 10) == []


def test_absent_classes_are_named() -> None:
    (symptom,) = balance(labelled([n % 8 for n in range(200)]), 10)
    assert symptom.check == "absent classes"
    assert symptom.found == "2 of the 10 classes of the model have no sample among 200"
    assert symptom.where == "class 8, 9"


def test_too_few_samples_to_meet_every_class_are_not_called_absent() -> None:
    assert names(list(range(500)), 1000) == []


def test_one_class_among_many_is_unbalanced() -> None:
    (symptom,) = balance(labelled([3] * 91 + list(range(10)) * 1), 10)
    assert (symptom.check, symptom.where) == ("unbalanced classes", "class 3")
    assert "92 of 101 samples (91 %)" in symptom.found


@pytest.mark.parametrize("labels", [[None, None], [0.5, 1.5], [0] * 99 + [None], [0] * 99 + [-1], []])
def test_scores_and_missing_labels_are_nothing_to_judge(labels: list[Label]) -> None:
    assert names(labels, 10) == []
