"""Fake quantizers against numpy, their gradients against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from deploycompress.quantization.affine import encode
from deploycompress.training.quantizing import fake

VALUES = arrays(np.float32, (3, 8), elements=st.floats(-8, 8, width=32))


@given(values=VALUES, step=st.floats(0.015625, 2, width=32), bits=st.sampled_from([2, 4, 8]))
def test_lsq_is_quantize_then_dequantize_bit_for_bit(values: np.ndarray, step: float, bits: int) -> None:
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    scale = np.float32(step)
    expected = encode(values, np.asarray(scale), 0, low, high) * scale
    got = fake.lsq(torch.from_numpy(values), torch.tensor(scale), low, high)
    np.testing.assert_array_equal(got.numpy(), expected)


@given(values=VALUES, step=st.floats(0.015625, 2, width=32))
def test_lsq_of_what_it_made_changes_nothing_and_zero_stays_zero(values: np.ndarray, step: float) -> None:
    s = torch.tensor(np.float32(step))
    once = fake.lsq(torch.from_numpy(values), s, -8, 7)
    assert torch.equal(fake.lsq(once, s, -8, 7), once)
    assert fake.lsq(torch.zeros(1), s, -8, 7).item() == 0.0


def test_step_gradient_is_the_finite_difference_less_the_part_that_rounding_would_stop() -> None:
    # d(s round(x/s))/ds = round(x/s) away from ties; straight-through adds -x/s where x is inside the range.
    x = torch.tensor([0.13, -0.41, 0.77, 2.6, -3.1, 0.02], dtype=torch.float64)
    s, low, high, small = torch.tensor(0.3, dtype=torch.float64, requires_grad=True), -4, 3, 1e-7
    scale = 1 / (x.numel() * high) ** 0.5
    for position in range(len(x)):
        one = x[position : position + 1]
        (gradient,) = torch.autograd.grad(fake.lsq(one, s, low, high).sum(), s)
        with torch.no_grad():
            difference = (fake.lsq(one, s + small, low, high) - fake.lsq(one, s - small, low, high)) / (2 * small)
        inside = low <= (one / s).item() <= high
        expected = difference.item() - ((one / s).item() if inside else 0.0)
        # Central differences of a function linear in s, in float64: rounding of 1e-16 / 1e-7.
        assert gradient.item() * (1 * high) ** 0.5 == pytest.approx(expected, abs=1e-7)
    (whole,) = torch.autograd.grad(fake.lsq(x, s, low, high).sum(), s)
    parts = [torch.autograd.grad(fake.lsq(v[None], s, low, high).sum(), s)[0].item() for v in x]
    assert whole.item() == pytest.approx(sum(parts) * high**0.5 * scale, rel=1e-9)


def test_value_gradient_passes_inside_the_range_and_stops_outside() -> None:
    x = torch.tensor([0.1, 5.0, -5.0, -0.9], requires_grad=True)
    fake.lsq(x, torch.tensor(0.5), -2, 1).sum().backward()
    assert x.grad.tolist() == [1.0, 0.0, 0.0, 1.0]


@given(weight=VALUES)
def test_ternary_follows_threshold_and_mean_of_the_kept(weight: np.ndarray) -> None:
    codes, scale = (part.numpy() for part in fake.ternary_parts(torch.from_numpy(weight), (1,)))
    for row, code, a in zip(weight.astype(np.float64), codes, scale[:, 0], strict=True):
        clear = np.abs(np.abs(row) - 0.7 * np.abs(row).mean()) > 1e-5  # float32 may decide otherwise at the threshold
        kept = np.abs(row) > 0.7 * np.abs(row).mean()
        assert (code[clear] == (np.sign(row) * kept)[clear]).all()
        if clear.all():
            assert a == pytest.approx(np.abs(row[kept]).mean() if kept.any() else 0.0, rel=1e-5)


def test_ternary_of_zeros_is_zero_and_not_nan() -> None:
    codes, scale = fake.ternary_parts(torch.zeros(2, 4), (1,))
    assert not codes.any()
    assert not scale.any()


@given(weight=VALUES)
def test_binary_has_two_levels_and_zero_goes_up(weight: np.ndarray) -> None:
    weight[0, 0] = 0.0
    codes, scale = fake.binary_parts(torch.from_numpy(weight), (1,))
    assert set(codes.unique().tolist()) <= {-1.0, 1.0}
    assert codes[0, 0] == 1.0
    # Below 1e-38 float32 has steps of 1.4e-45 instead of a relative precision; a mean of 8 rounds a few times.
    expected = np.abs(weight.astype(np.float64)).mean(1)
    np.testing.assert_allclose(scale[:, 0].numpy(), expected, rtol=1e-6, atol=1e-44)


def test_through_gives_the_very_numbers_with_the_gradient_of_the_weight() -> None:
    weight = torch.tensor([1e8, 0.1], requires_grad=True)
    quantized = torch.tensor([0.3, 7.0])
    out = fake.through(weight, quantized)
    assert torch.equal(out, quantized)  # w + (q - w) would give 0.0 for the first
    (out * torch.tensor([2.0, 3.0])).sum().backward()
    assert weight.grad.tolist() == [2.0, 3.0]


def test_first_step_follows_the_mean_size_and_is_one_for_zeros() -> None:
    x = torch.tensor([[1.0, -3.0], [0.0, 0.0]])
    assert fake.initial_step(x, 4, (1,)).flatten().tolist() == [2.0, 1.0]


def test_a_step_below_zero_keeps_the_grid() -> None:
    assert fake.positive(torch.tensor(-0.5)).item() == 0.5
    assert fake.positive(torch.tensor(0.0)).item() > 0
