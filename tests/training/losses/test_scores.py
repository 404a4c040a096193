"""TinyBERT's attention loss: all scores of real pairs count, those of padding do not."""

from __future__ import annotations

import pytest
import torch

from deploycompress.errors import UsageError
from deploycompress.training.losses.scores import score_difference
from tests.training.losses.arrays import normal, padded

MASK = padded((5, 3), 5)


def test_equal_scores_give_zero() -> None:
    assert score_difference(normal(2, 4, 5, 5), normal(2, 4, 5, 5), MASK).item() == 0


def test_value_is_the_mean_over_heads_and_real_pairs() -> None:
    student, teacher = normal(2, 4, 5, 5), normal(2, 4, 5, 5, seed=1)
    s, t = student.double().numpy(), teacher.double().numpy()
    expected = (((s - t)[0] ** 2).sum() + ((s - t)[1, :, :3, :3] ** 2).sum()) / (4 * (25 + 9))
    assert score_difference(student, teacher, MASK).item() == pytest.approx(expected, rel=1e-6)


def test_negative_scores_count() -> None:
    # A circulating implementation zeroes whatever is below -0.001 where it gets no mask.
    assert score_difference(torch.full((1, 1, 2, 2), -3.0), torch.full((1, 1, 2, 2), -1.0)).item() == 4


def test_padding_does_not_count() -> None:
    student, teacher = normal(2, 4, 5, 5), normal(2, 4, 5, 5, seed=1)
    value = score_difference(student, teacher, MASK).item()
    student[1, :, 3:], student[1, :, :, 3:] = -1e4, -1e4
    assert score_difference(student, teacher, MASK).item() == value


def test_other_numbers_of_heads_are_refused() -> None:
    with pytest.raises(UsageError, match=r"\(1, 2, 3, 3\), the teacher's \(1, 4, 3, 3\); .*relations"):
        score_difference(normal(1, 2, 3, 3), normal(1, 4, 3, 3))


def test_mask_without_real_token_is_refused() -> None:
    with pytest.raises(UsageError, match="no valid position"):
        score_difference(normal(1, 2, 3, 3), normal(1, 2, 3, 3), torch.zeros(1, 3))
