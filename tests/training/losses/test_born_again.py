"""BAN, CWTM and DKPP against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from deploycompress.training.losses import soft_targets
from deploycompress.training.losses.born_again import confidence_weighted, permuted, soft_cross_entropy
from tests.training.losses.arrays import normal, softmax

STUDENT, TEACHER, LABELS = normal(6, 5), 2 * normal(6, 5, seed=1), torch.tensor([0, 1, 2, 3, 4, 0])


def test_soft_cross_entropy_has_the_gradient_of_distillation_at_temperature_one() -> None:
    student = STUDENT.clone().requires_grad_()
    soft_cross_entropy(student, TEACHER.softmax(-1)).backward()
    twin = STUDENT.clone().requires_grad_()
    soft_targets(twin, TEACHER, 1.0).backward()
    torch.testing.assert_close(student.grad, twin.grad)


def test_one_hot_probabilities_give_the_cross_entropy_on_labels() -> None:
    value = soft_cross_entropy(STUDENT, functional.one_hot(LABELS, 5).float())
    torch.testing.assert_close(value, functional.cross_entropy(STUDENT, LABELS))


def test_uniform_confidence_gives_the_mean_cross_entropy() -> None:
    equally_sure = torch.stack([TEACHER[0][torch.randperm(5)] for _ in range(6)])
    value = confidence_weighted(STUDENT, equally_sure, LABELS)
    torch.testing.assert_close(value, functional.cross_entropy(STUDENT, LABELS))


def test_weight_is_the_highest_probability_even_of_a_wrong_teacher() -> None:
    s, t = softmax(STUDENT.double().numpy()), softmax(TEACHER.double().numpy())
    weights = t.max(1) / t.max(1).sum()
    assert (t.argmax(1) != LABELS.numpy()).any()
    expected = -(weights * np.log(s[np.arange(6), LABELS.numpy()])).sum()
    assert confidence_weighted(STUDENT, TEACHER, LABELS).item() == pytest.approx(expected, rel=1e-5)


def test_permuting_keeps_the_values_and_the_first_choice() -> None:
    torch.manual_seed(0)
    probabilities = (3 * normal(64, 10)).softmax(-1)
    shuffled = permuted(probabilities)
    assert torch.equal(shuffled.sort(1).values, probabilities.sort(1).values)
    assert torch.equal(shuffled.argmax(1), probabilities.argmax(1))
    assert torch.equal(shuffled.amax(1), probabilities.amax(1))


def test_permuting_moves_every_other_class_as_often() -> None:
    torch.manual_seed(0)
    probabilities = torch.tensor([[0.1, 0.5, 0.4]]).expand(2000, 3)
    moved = (permuted(probabilities)[:, 0] == 0.4).float().mean().item()
    assert moved == pytest.approx(0.5, abs=0.045)  # four standard errors of a fair coin thrown 2,000 times


def test_single_class_stays_as_it_is() -> None:
    assert torch.equal(permuted(torch.ones(3, 1)), torch.ones(3, 1))
