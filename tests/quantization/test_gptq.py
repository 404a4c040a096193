"""GPTQ against rounding to nearest, on errors computed from outputs, and against a loop written from the paper."""

from __future__ import annotations

import numpy as np
import pytest

from deploycompress.quantization.gptq import gptq_codes
from tests.quantization.layers import absmax_grid, correlated, dequantized, nearest


@pytest.mark.parametrize("act_order", [False, True])
@pytest.mark.parametrize("block", [None, 16])
def test_uncorrelated_inputs_give_round_to_nearest(block: int | None, act_order: bool) -> None:
    weight = correlated(0, 8, 48).weight
    grid = absmax_grid(weight, 4, block)
    codes = gptq_codes(weight, np.eye(48), *grid, block=block, act_order=act_order)
    np.testing.assert_array_equal(codes, nearest(weight, *grid, block))


@pytest.mark.parametrize("act_order", [False, True])
def test_output_error_of_correlated_inputs_is_at_most_055_of_round_to_nearest(act_order: bool) -> None:
    layer = correlated(1, 256, 256)
    scale, zero, low, high = absmax_grid(layer.weight, 3)
    codes = gptq_codes(layer.weight, layer.gram, scale, zero, low, high, act_order=act_order)
    ours = layer.error(dequantized(codes, scale, zero))
    theirs = layer.error(dequantized(nearest(layer.weight, scale, zero, low, high), scale, zero))
    assert ours <= 0.55 * theirs


@pytest.mark.parametrize("block", [None, 16])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_mean_error_of_twenty_problems_is_not_above_round_to_nearest(bits: int, block: int | None) -> None:
    ratios = []
    for seed in range(20):
        layer = correlated(seed, 6, 40, rows=200, rho=0.5)
        grid = absmax_grid(layer.weight, bits, block)
        codes = gptq_codes(layer.weight, layer.gram, *grid, block=block)
        plain = layer.error(dequantized(nearest(layer.weight, *grid, block), *grid[:2], block))
        ratios.append(layer.error(dequantized(codes, *grid[:2], block)) / plain)
    assert np.mean(ratios) <= 1.0


def test_codes_equal_those_of_the_plain_loop_of_the_paper() -> None:
    layer = correlated(3, 5, 300, rows=500)  # more columns than one lazy block
    scale, zero, low, high = absmax_grid(layer.weight, 4, 20)
    hessian = layer.gram + 0.01 * np.trace(layer.gram) / 300 * np.eye(300)
    factor = np.linalg.cholesky(np.linalg.inv(hessian)).T
    left, expected = layer.weight.copy(), np.empty((5, 300))
    for i in range(300):
        step = scale[:, i // 20]
        expected[:, i] = np.clip(np.rint(left[:, i] / step), low, high)
        error = (left[:, i] - step * expected[:, i]) / factor[i, i]
        left[:, i:] -= np.outer(error, factor[i, i:])
    codes = gptq_codes(layer.weight, layer.gram, scale, zero, low, high, block=20, act_order=False)
    np.testing.assert_array_equal(codes, expected)


def test_columns_never_seen_are_rounded_to_nearest_and_disturb_no_other() -> None:
    layer = correlated(4, 6, 32)
    dead = np.array([3, 17])
    rows = layer.rows.copy()
    rows[:, dead] = 0.0
    grid = absmax_grid(layer.weight, 3)
    codes = gptq_codes(layer.weight, rows.T @ rows, *grid)
    np.testing.assert_array_equal(codes[:, dead], nearest(layer.weight, *grid)[:, dead])
    others = np.setdiff1d(np.arange(32), dead)
    gram = rows[:, others].T @ rows[:, others]
    # The mean of the diagonal, and so the damping, counts the dead columns: 30 of 32 are alive.
    alone = gptq_codes(layer.weight[:, others], gram, *grid, damp=0.01 * 30 / 32)
    np.testing.assert_array_equal(codes[:, others], alone)


def test_asymmetric_codes_stay_in_their_range() -> None:
    layer = correlated(5, 7, 24)
    low_edge, high_edge = layer.weight.min(axis=1), layer.weight.max(axis=1)
    scale = ((high_edge - low_edge) / 15)[:, None]
    zero = np.rint(-low_edge / scale[:, 0]).astype(np.int64)[:, None]
    codes = gptq_codes(layer.weight, layer.gram, scale, zero, 0, 15)
    assert codes.min() >= 0
    assert codes.max() <= 15
    # At this width a rounding moves a weight by at most a few steps, where the grid is read with the right zero point.
    assert np.abs(dequantized(codes, scale, zero) - layer.weight).max() < 5 * scale.max()


@pytest.mark.parametrize("act_order", [False, True])
def test_every_block_keeps_its_own_zero_point_in_any_order(act_order: bool) -> None:
    layer = correlated(5, 7, 48)
    scale, none, _, _ = absmax_grid(layer.weight, 5, 16)
    zero = np.random.default_rng(0).integers(-90, 90, none.shape)
    # Five bits of codes in the middle of eight: no code is cut off, so a zero point moves codes and nothing else.
    plain, moved = (
        gptq_codes(layer.weight, layer.gram, scale, z, -128, 127, block=16, act_order=act_order) for z in (none, zero)
    )
    np.testing.assert_array_equal(moved - np.repeat(zero, 16, axis=1), plain)


def test_a_singular_gram_is_damped_into_a_solvable_one() -> None:
    layer = correlated(6, 4, 64, rows=8)  # rank 8 of 64
    codes = gptq_codes(layer.weight, layer.gram, *absmax_grid(layer.weight, 4))
    scale, zero = absmax_grid(layer.weight, 4)[:2]
    plain = nearest(layer.weight, *absmax_grid(layer.weight, 4))
    assert layer.error(dequantized(codes, scale, zero)) < layer.error(dequantized(plain, scale, zero))


def test_act_order_wins_where_the_largest_inputs_come_last() -> None:
    layer = correlated(7, 16, 64)
    rows = layer.rows * np.geomspace(0.05, 5.0, 64)
    scale, zero, low, high = absmax_grid(layer.weight, 3)

    def error(act_order: bool) -> float:
        codes = gptq_codes(layer.weight, rows.T @ rows, scale, zero, low, high, act_order=act_order)
        return float(np.linalg.norm(rows @ (layer.weight - dequantized(codes, scale, zero)).T))

    assert error(True) < 0.8 * error(False)
