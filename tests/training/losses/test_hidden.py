"""Distances of states: zero for equals, padding does not count, the known values of simple cases."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from deploycompress.errors import UsageError
from deploycompress.training.losses.hidden import angle, squared, unexplained
from tests.training.losses.arrays import normal, padded

Loss = Callable[..., torch.Tensor]
LOSSES = pytest.mark.parametrize("loss", [squared, unexplained, angle])
MASK = padded((5, 2, 1), 5)


@LOSSES
def test_equal_states_give_zero(loss: Loss) -> None:
    states = normal(3, 5, 8)
    assert loss(states, states, MASK).item() == pytest.approx(0, abs=1e-6)  # 1 - cos is 1 minus a rounded 1


@LOSSES
def test_padding_does_not_count(loss: Loss) -> None:
    student, teacher = normal(3, 5, 8), normal(3, 5, 8, seed=1)
    value = loss(student, teacher, MASK).item()
    packed = loss(student[MASK.bool()], teacher[MASK.bool()]).item()
    student[~MASK.bool()], teacher[~MASK.bool()] = 1e3, -1e3
    assert loss(student, teacher, MASK).item() == value == packed


@LOSSES
def test_no_gradient_reaches_the_teacher(loss: Loss) -> None:
    student, teacher = normal(4, 6).requires_grad_(), normal(4, 6, seed=1).requires_grad_()
    loss(student, teacher).backward()
    assert teacher.grad is None
    assert student.grad is not None


@LOSSES
def test_other_widths_are_refused(loss: Loss) -> None:
    with pytest.raises(UsageError, match=r"states are \(2, 3\), the teacher's \(2, 4\); .*need a projection"):
        loss(normal(2, 3), normal(2, 4))


@LOSSES
def test_mask_without_valid_position_is_refused(loss: Loss) -> None:
    with pytest.raises(UsageError, match="no valid position"):
        loss(normal(2, 3), normal(2, 3), torch.zeros(2))


def test_squared_is_the_mean_of_squares_over_valid_positions() -> None:
    student, teacher = normal(3, 5, 8), normal(3, 5, 8, seed=1)
    s, t, m = student.double().numpy(), teacher.double().numpy(), MASK.numpy()
    # TextBrewer's form: the sum over valid positions over (number of them x width).
    expected = (((s - t) ** 2) * m[:, :, None]).sum() / (m.sum() * 8)
    assert squared(student, teacher, MASK).item() == pytest.approx(expected, rel=1e-6)


def test_constant_guess_of_the_mean_leaves_everything_unexplained() -> None:
    teacher = normal(50, 8)
    assert unexplained(teacher.mean(0).expand(50, 8), teacher).item() == pytest.approx(1, rel=1e-6)


def test_unexplained_has_no_units() -> None:
    student, teacher = normal(9, 8), normal(9, 8, seed=1)
    assert unexplained(1e3 * student, 1e3 * teacher).item() == pytest.approx(
        unexplained(student, teacher).item(), rel=1e-5
    )


def test_twice_the_angle_is_the_squared_distance_of_unit_vectors() -> None:
    student, teacher = normal(9, 8), normal(9, 8, seed=1)
    s, t = student.double().numpy(), teacher.double().numpy()
    units = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (s, t)]
    expected = ((units[0] - units[1]) ** 2).sum(1).mean()  # PKD's form
    assert 2 * angle(student, teacher).item() == pytest.approx(expected, rel=1e-5)


def test_half_precision_states_are_computed_in_float32() -> None:
    states = torch.full((2, 3), 60000.0, dtype=torch.float16)
    assert torch.isfinite(squared(states, -states))
