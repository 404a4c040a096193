"""SP, RKD, CC and PKT: what they compare within a batch, the changes they are blind to, and their values in float64."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch

from deploycompress.training.losses.correlation import GAMMA, correlation_congruence, kernel
from deploycompress.training.losses.pkt import probabilistic_transfer
from deploycompress.training.losses.rkd import angle_loss, distance_loss, relational
from deploycompress.training.losses.similarity import similarity_preserving
from tests.training.losses.arrays import normal, rotation

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
ALL = pytest.mark.parametrize(
    "loss",
    [similarity_preserving, distance_loss, angle_loss, relational, correlation_congruence, probabilistic_transfer],
)
STUDENT, TEACHER = normal(7, 6), normal(7, 9, seed=1)


@ALL
def test_equal_features_give_zero(loss: Loss) -> None:
    assert loss(STUDENT, STUDENT).item() == 0


@ALL
def test_feature_maps_of_other_widths_are_compared(loss: Loss) -> None:
    assert loss(normal(5, 3, 4, 4), normal(5, 8, 2, 2, seed=1)).item() > 0


@ALL
def test_order_of_the_batch_does_not_matter(loss: Loss) -> None:
    order = torch.randperm(7, generator=torch.Generator().manual_seed(2))
    # Sums of at most 343 float32 terms in another order.
    assert loss(STUDENT[order], TEACHER[order]).item() == pytest.approx(loss(STUDENT, TEACHER).item(), rel=1e-5)


@ALL
def test_rotated_and_scaled_features_are_the_same(loss: Loss) -> None:
    turned = 3 * STUDENT @ rotation(6)
    assert loss(turned, STUDENT).item() == pytest.approx(0, abs=1e-6)  # rounding of float32 terms below 1
    assert loss(turned, TEACHER).item() == pytest.approx(loss(STUDENT, TEACHER).item(), rel=1e-4)


@pytest.mark.parametrize("loss", [distance_loss, angle_loss])
def test_moved_features_are_the_same_to_rkd(loss: Loss) -> None:
    assert loss(STUDENT + 2, TEACHER).item() == pytest.approx(loss(STUDENT, TEACHER).item(), rel=1e-4)


@ALL
def test_no_gradient_reaches_the_teacher_and_the_students_is_finite(loss: Loss) -> None:
    student, teacher = STUDENT.clone().requires_grad_(), TEACHER.clone().requires_grad_()
    loss(student, teacher).backward()
    assert teacher.grad is None
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


@ALL
def test_equal_samples_do_not_break_the_gradient(loss: Loss) -> None:
    student = torch.cat([STUDENT[:3], STUDENT[:3], torch.zeros(1, 6)]).requires_grad_()
    loss(student, TEACHER).backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


def huber(difference: float) -> float:
    return 0.5 * difference**2 if abs(difference) < 1 else abs(difference) - 0.5


def test_similarity_is_the_frobenius_norm_of_the_papers_matrices() -> None:
    def matrix(features: torch.Tensor) -> np.ndarray:
        g = features.double().numpy() @ features.double().numpy().T
        return g / np.linalg.norm(g, axis=1, keepdims=True)

    expected = np.linalg.norm(matrix(STUDENT) - matrix(TEACHER), "fro") ** 2 / 7**2
    assert similarity_preserving(STUDENT, TEACHER).item() == pytest.approx(expected, rel=1e-5)


def test_distances_are_those_written_out_pair_by_pair() -> None:
    def distances(features: torch.Tensor) -> np.ndarray:
        x = features.double().numpy()
        found = np.array([[np.linalg.norm(a - b) for a in x] for b in x])
        return found / (found.sum() / (7 * 6))

    pairs = zip(distances(STUDENT).ravel(), distances(TEACHER).ravel(), strict=True)
    expected = np.mean([huber(a - b) for a, b in pairs])
    assert distance_loss(STUDENT, TEACHER).item() == pytest.approx(expected, rel=1e-5)


def test_angles_are_those_written_out_triple_by_triple() -> None:
    def angles(features: torch.Tensor) -> list[float]:
        x = features.double().numpy()
        found = []
        for j, i, k in itertools.product(range(7), repeat=3):
            a, b = x[i] - x[j], x[k] - x[j]
            norms = np.linalg.norm(a) * np.linalg.norm(b)
            found.append(float(a @ b / norms) if norms else 0.0)
        return found

    expected = np.mean([huber(a - b) for a, b in zip(angles(STUDENT), angles(TEACHER), strict=True)])
    assert angle_loss(STUDENT, TEACHER).item() == pytest.approx(expected, rel=1e-5)


def test_angles_are_taken_of_the_first_samples_only() -> None:
    assert angle_loss(STUDENT, TEACHER, samples=4).item() == angle_loss(STUDENT[:4], TEACHER[:4]).item()


def test_kernel_is_the_gaussian_to_the_second_order() -> None:
    unit = (STUDENT / STUDENT.norm(dim=1, keepdim=True)).double().numpy()
    distances = ((unit[:, None] - unit[None]) ** 2).sum(-1)
    exact = np.exp(-GAMMA * distances)
    # The series stops before (2 gamma s)^3 / 3! <= 0.8^3 / 6 = 0.085, times e^-0.8, and what follows is smaller.
    assert np.abs(kernel(STUDENT).double().numpy() - exact).max() < 0.05
    # Many terms are the kernel itself, to float32.
    np.testing.assert_allclose(kernel(STUDENT, order=12), exact, rtol=1e-5)


def test_likeness_divergence_is_that_written_out() -> None:
    def shares(features: torch.Tensor) -> np.ndarray:
        x = features.double().numpy()
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
        like = (x @ x.T + 1) / 2
        return like / like.sum(1, keepdims=True)

    s, t = shares(STUDENT), shares(TEACHER)
    expected = (t * np.log(t / s)).sum(1).mean()
    assert probabilistic_transfer(STUDENT, TEACHER).item() == pytest.approx(expected, rel=1e-4)
