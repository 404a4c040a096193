"""The two sides of GAN-style distillation against float64, and what each wants."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deploycompress.training.losses.adversarial import discriminating, passing
from tests.training.losses.arrays import normal, softmax

LABELS = torch.tensor([0, 2, 1])


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def classes(outputs: np.ndarray) -> float:
    return float(-np.log(softmax(outputs[:, 1:])[np.arange(3), LABELS.numpy()]).mean())


def test_losses_are_the_logarithms_of_the_paper() -> None:
    of_teacher, of_student = normal(3, 4), normal(3, 4, seed=1)
    t, s = of_teacher.double().numpy(), of_student.double().numpy()
    source = -np.log(sigmoid(t[:, 0])).mean() - np.log(1 - sigmoid(s[:, 0])).mean()
    assert discriminating(of_teacher, of_student, LABELS).item() == pytest.approx(
        source + classes(t) + classes(s), rel=1e-5
    )
    expected = -np.log(sigmoid(s[:, 0])).mean() + classes(s)
    assert passing(of_student, LABELS).item() == pytest.approx(expected, rel=1e-5)


def test_student_and_discriminator_want_opposite_sources() -> None:
    of_student = torch.zeros(3, 4, requires_grad=True)
    passing(of_student, LABELS).backward()
    wished = of_student.grad
    twin = torch.zeros(3, 4, requires_grad=True)
    discriminating(torch.zeros(3, 4), twin, LABELS).backward()
    assert wished is not None
    assert twin.grad is not None
    assert torch.equal(wished[:, 0], -twin.grad[:, 0])
    assert torch.equal(wished[:, 1:], twin.grad[:, 1:])


def test_certain_discriminator_gives_finite_losses() -> None:
    sure = torch.tensor([[1e4, 0.0, 0.0, 0.0]] * 3)
    assert torch.isfinite(discriminating(-sure, sure, LABELS))
    assert torch.isfinite(passing(-sure, LABELS))
