"""MiniLM's relations: KL over the real keys of every real token, blind to the width of the layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deploycompress.errors import UsageError
from deploycompress.training.attention import relations
from deploycompress.training.losses.relations import relation_divergence
from tests.training.losses.arrays import normal, padded, rotation, softmax

MASK = padded((5, 3, 0), 5)


def test_equal_relations_give_zero() -> None:
    assert relation_divergence(normal(3, 4, 5, 5), normal(3, 4, 5, 5), MASK).item() == 0


def test_value_is_the_divergence_over_real_keys() -> None:
    student, teacher = normal(3, 4, 5, 5), normal(3, 4, 5, 5, seed=1)
    values = []
    for sample, length in ((0, 5), (1, 3)):
        s, t = (softmax(x[sample, :, :length, :length].double().numpy()) for x in (student, teacher))
        values.append((t * np.log(t / s)).sum(-1).mean(0))
    expected = np.concatenate(values).mean()
    # float32 log-softmax of numbers of a few units.
    assert relation_divergence(student, teacher, MASK).item() == pytest.approx(expected, rel=1e-5)


def test_padding_does_not_count() -> None:
    student, teacher = normal(3, 4, 5, 5), normal(3, 4, 5, 5, seed=1)
    value = relation_divergence(student, teacher, MASK).item()
    student[1, :, 3:], student[1, :, :, 3:], teacher[2] = 1e4, 1e4, float("nan")
    assert relation_divergence(student, teacher, MASK).item() == value


def test_gradient_is_finite_beside_padding() -> None:
    student = normal(3, 4, 5, 5).requires_grad_()
    relation_divergence(student, normal(3, 4, 5, 5, seed=1), MASK).backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()
    assert student.grad[1, :, 3:].abs().max() == 0


def test_relations_of_a_rotated_layer_are_the_same() -> None:
    values = normal(2, 5, 8)
    same = relation_divergence(relations(values @ rotation(8), 1), relations(values, 1))
    assert same.item() == pytest.approx(0, abs=1e-6)  # float32 sums in another order


def test_narrow_student_needs_no_projection() -> None:
    assert relation_divergence(relations(normal(2, 5, 12), 4), relations(normal(2, 5, 32), 4)).item() > 0


def test_other_numbers_of_heads_are_refused() -> None:
    with pytest.raises(UsageError, match="split both into the same number of relation heads"):
        relation_divergence(normal(1, 2, 3, 3), normal(1, 4, 3, 3))


def test_mask_without_real_token_is_refused() -> None:
    with pytest.raises(UsageError, match="no valid position"):
        relation_divergence(normal(1, 2, 3, 3), normal(1, 2, 3, 3), torch.zeros(1, 3))
