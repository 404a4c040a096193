"""GPTQ on the weights of int8 layers: less output error, the same scales, no unsafe pair."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deploycompress.calibration import collect
from deploycompress.quantization.affine import PAIR_LIMIT, largest_pair_sums, quantize_weight
from deploycompress.quantization.gptq_int8 import bounded_pairs, rounded_int8
from deploycompress.quantization.plan import layer_inputs, plan, required_tensors
from deploycompress.quantization.qdq import emit_qdq
from deploycompress.quantization.saturation import unsafe_channels
from tests.quantization.nets import TARGET, feeds, residual_net, run, sqnr_db
from tests.zoo import normal


def correlated(groups: int, features: int, seed: int) -> np.ndarray:
    """X^T X [groups, K, K] of rows in which neighbours go together."""
    rows = np.cumsum(normal(groups, 200, features, seed=seed), axis=2, dtype=np.float64)
    return np.einsum("gni,gnj->gij", rows, rows)


def output_error(weight: np.ndarray, codes: np.ndarray, products: np.ndarray) -> float:
    """|X W - X W'|^2 over all groups; weights [O, ...]."""
    groups = len(products)
    lost = (weight.astype(np.float64) - codes).reshape(groups, len(weight) // groups, -1)
    return float(np.einsum("goi,gij,goj->", lost, products, lost))


@pytest.mark.parametrize(("groups", "inputs", "kernel"), [(1, 3, 3), (1, 8, 1), (2, 2, 3), (8, 1, 3)])
def test_the_output_error_of_a_convolution_falls(groups: int, inputs: int, kernel: int) -> None:
    ratios = []
    for seed in range(20):
        weight = normal(8, inputs, kernel, kernel, seed=seed)
        products = correlated(groups, inputs * kernel**2, seed)
        nearest = quantize_weight(weight, 0)
        better = rounded_int8(weight, nearest, 0, products)
        np.testing.assert_array_equal(better.scale, nearest.scale)
        before, after = (output_error(weight, each.dequantize(), products) for each in (nearest, better))
        ratios.append(after / before)
    # Sums of neighbours go together, so the error of one is made good by the next; a wrong order gains nothing.
    assert np.mean(ratios) < 0.5


def test_uncorrelated_inputs_of_one_size_are_rounded_to_nearest() -> None:
    weight = normal(12, 8)  # [K, N]
    nearest = quantize_weight(weight, 1)
    np.testing.assert_array_equal(rounded_int8(weight, nearest, 1, np.eye(12)[None]).codes, nearest.codes)


def test_a_channel_in_which_a_pair_would_become_unsafe_keeps_its_nearest_codes() -> None:
    # The first input is three times the second and opposite: 61 for 60.6 is made good by 68 for 66.4, one too many.
    weight = np.float32([[60.6, 66.4], [60.6, -66.4]]).reshape(2, 1, 2)
    rows = np.float64([[-3.0, 1.0], [-3.0, 1.01]])
    products = np.stack([rows.T @ rows] * 2)
    nearest = quantize_weight(weight, 0, min_scale=1.0)
    assert nearest.codes.reshape(2, 2).tolist() == [[61, 66], [61, -66]]
    free = rounded_int8(weight, nearest, 0, products)
    assert largest_pair_sums(free.codes).max() == PAIR_LIMIT + 1
    safe = rounded_int8(weight, nearest, 0, products, pair_safe=True)
    assert safe.codes[0].tolist() == nearest.codes[0].tolist()
    assert safe.codes[1].tolist() == free.codes[1].tolist()  # of opposite sign: nothing to be afraid of
    # Depthwise kernels have no pairs.
    depthwise = rounded_int8(weight, nearest, 0, products, pair_safe=True, depthwise=True)
    np.testing.assert_array_equal(depthwise.codes, free.codes)


def test_a_plan_with_gram_matrices_is_written_with_better_weights() -> None:
    net = residual_net()
    inputs = feeds(net)
    names = required_tensors(net, TARGET)
    plain, better = (plan(net, TARGET, collect(net, names, inputs, grams=grams)) for grams in ((), layer_inputs(net)))
    feed = feeds(net, 40)[39]
    reference = run(net, feed)["y"]
    first, second = emit_qdq(net, plain), emit_qdq(net, better)
    assert unsafe_channels(second) == {}
    weights = [made.graph.initializers["w1_quantized"].const_value.numpy() for made in (first, second)]
    assert (weights[0] != weights[1]).any()
    assert better.nodes["c1"].weight is not None
    assert better.nodes["c1"].weight.rounding == "gptq"
    # Activations make most of the noise of this net; better weights must not add to it.
    assert sqnr_db(reference, run(second, feed)["y"]) > sqnr_db(reference, run(first, feed)["y"]) - 0.5


@pytest.mark.parametrize("rows", [16, 1000])
def test_a_few_rows_of_each_sample_give_nearly_the_same_matrix(rows: int) -> None:
    net = residual_net()
    layers = layer_inputs(net)
    whole = collect(net, [], feeds(net, 64), grams=layers).grams
    part = collect(net, [], feeds(net, 64), grams=layers, gram_rows=rows).grams
    for layer in layers:
        assert part[layer].count <= whole[layer].count
        mean, seen = whole[layer].products / whole[layer].count, part[layer].products / part[layer].count
        # 16 rows of 128 images, a border row among them more often than among all 64.
        assert np.abs(mean - seen).max() <= (0 if rows == 1000 else 0.6) * np.abs(mean).max() + 1e-12
    assert part[layers[1]].count == 128 * min(rows, 64)


def test_inputs_without_weights_take_no_error() -> None:
    rows, weight = normal(512, 32).astype(np.float64), normal(32, 8)
    rows[:, 5] = rows[:, 4] / 3  # three codes here could make good what one loses there
    weight[5] = 0.0
    found = rounded_int8(weight, quantize_weight(weight, 1), 1, (rows.T @ rows)[None])
    assert not found.codes[5].any()


def test_pairs_of_a_product_stay_within_the_bound() -> None:
    rows, weight = normal(512, 32).astype(np.float64), normal(32, 8)
    found = rounded_int8(weight, quantize_weight(weight, 1), 1, (rows.T @ rows)[None], pair_safe=True)
    assert largest_pair_sums(found.codes.T).max() == PAIR_LIMIT  # full-range scales would exceed it


@given(hnp.arrays(np.int8, st.tuples(st.integers(1, 4), st.integers(1, 9)), elements=st.integers(-127, 127)))
def test_pairs_are_brought_within_the_bound_and_no_further(codes: np.ndarray) -> None:
    found = bounded_pairs(codes)
    for row, changed in zip(codes.astype(int), found.astype(int), strict=True):
        for k in range(0, len(row) - 1, 2):
            a, b = row[k : k + 2]
            expected = min(abs(a) + abs(b), PAIR_LIMIT) if a * b > 0 else abs(a) + abs(b)
            assert abs(changed[k]) + abs(changed[k + 1]) == expected
        assert (np.sign(changed) * np.sign(row) >= 0).all()


def test_the_larger_of_two_neighbours_gives_way() -> None:
    codes = np.array([[100, 40, -40, -100, 100, -100, 127]], np.int8)
    np.testing.assert_array_equal(bounded_pairs(codes), [[88, 40, -40, -88, 100, -100, 127]])
