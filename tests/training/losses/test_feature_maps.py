"""Attention transfer and FSP on feature maps against float64, and their identities."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deploycompress.errors import UsageError
from deploycompress.training.losses.attention_maps import attention_transfer
from deploycompress.training.losses.fsp import flow, solution_flow
from tests.training.losses.arrays import normal


def test_attention_maps_of_equal_features_give_zero() -> None:
    assert attention_transfer(normal(2, 3, 4, 4), normal(2, 3, 4, 4)).item() == 0


def test_attention_maps_do_not_see_scale_sign_or_order_of_channels() -> None:
    features = normal(2, 6, 4, 4)
    assert attention_transfer(-3 * features.flip(1), features).item() == pytest.approx(0, abs=1e-12)


def test_attention_transfer_is_that_of_the_authors_code() -> None:
    student, teacher = normal(2, 3, 4, 4), normal(2, 5, 4, 4, seed=1)

    def attention(features: torch.Tensor) -> np.ndarray:
        q = (features.double().numpy() ** 2).mean(1).reshape(2, -1)
        return q / np.linalg.norm(q, axis=1, keepdims=True)

    expected = ((attention(student) - attention(teacher)) ** 2).mean()
    assert attention_transfer(student, teacher).item() == pytest.approx(expected, rel=1e-5)


def test_larger_map_is_averaged_down() -> None:
    small, large = normal(2, 3, 2, 2), normal(2, 5, 4, 4, seed=1)
    averaged = large.reshape(2, 5, 2, 2, 2, 2).mean((3, 5))
    torch.testing.assert_close(attention_transfer(small, large), attention_transfer(small, averaged))
    torch.testing.assert_close(attention_transfer(large, small), attention_transfer(averaged, small))


def test_vectors_are_refused_as_attention_maps() -> None:
    with pytest.raises(UsageError, match=r"shapes \(2, 3\) and \(2, 3, 4, 4\); .*\[batch, channels, height, width\]"):
        attention_transfer(normal(2, 3), normal(2, 3, 4, 4))


def test_flow_is_the_product_of_channels_over_places() -> None:
    first, second = normal(2, 3, 4, 4), normal(2, 5, 4, 4, seed=1)
    a, b = first.double().numpy().reshape(2, 3, 16), second.double().numpy().reshape(2, 5, 16)
    np.testing.assert_allclose(flow(first, second), a @ b.transpose(0, 2, 1) / 16, rtol=1e-5, atol=1e-6)


def test_equal_flows_give_zero_and_others_their_mean_square() -> None:
    student = normal(2, 3, 4, 4), normal(2, 5, 4, 4, seed=1)
    teacher = normal(2, 3, 4, 4, seed=2), normal(2, 5, 4, 4, seed=3)
    assert solution_flow(student, student).item() == 0
    expected = (flow(*student).double() - flow(*teacher).double()).square().mean().item()
    assert solution_flow(student, teacher).item() == pytest.approx(expected, rel=1e-5)


def test_flows_of_other_channels_are_refused() -> None:
    with pytest.raises(UsageError, match="student's flow is 3 x 5 channels, the teacher's 3 x 6"):
        solution_flow((normal(2, 3, 4, 4), normal(2, 5, 4, 4)), (normal(2, 3, 4, 4), normal(2, 6, 4, 4)))
