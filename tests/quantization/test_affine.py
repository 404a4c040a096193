"""The affine quantizer against ONNX Runtime's own kernels and the identities of the formulas."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deploycompress.quantization.affine import (
    code_range,
    fit,
    grid,
    min_weight_scale,
    pair_safe_scale,
    quantize,
    quantize_bias,
    quantize_weight,
)
from deploycompress.runtime.session import Session, SessionConfig

VALUES = hnp.arrays(np.float32, st.integers(1, 40), elements=st.floats(-1e6, 1e6, width=32))
WEIGHTS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=5),
    elements=st.floats(-1e3, 1e3, width=32),
)
DTYPES = st.sampled_from(["uint8", "int8"])


def runtime_codes(values: np.ndarray, scale: float, zero_point: int, dtype: str) -> np.ndarray:
    """QuantizeLinear as ONNX Runtime computes it."""
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 13]>
        g (float[N] x, float s, {dtype} z) => ({dtype}[N] y) {{ y = QuantizeLinear(x, s, z) }}"""
    )
    session = Session(model.SerializeToString(), SessionConfig(threads=1))
    feed = {"x": values, "s": np.array(scale, np.float32), "z": np.array(zero_point, dtype)}
    return np.asarray(session.run(feed)["y"])


@given(VALUES, DTYPES, st.booleans())
def test_codes_equal_those_of_onnx_runtime(values: np.ndarray, dtype: str, symmetric: bool) -> None:
    to = grid(float(values.min()), float(values.max()), dtype, symmetric=symmetric)
    np.testing.assert_array_equal(
        quantize(values, to), runtime_codes(values, to.scale, to.zero_point, dtype), strict=True
    )


@given(VALUES, DTYPES, st.booleans())
def test_zero_is_on_the_grid_and_errors_stay_within_half_a_step(
    values: np.ndarray, dtype: str, symmetric: bool
) -> None:
    to = grid(float(values.min()), float(values.max()), dtype, symmetric=symmetric)
    assert quantize(np.zeros(1, np.float32), to)[0] == to.zero_point
    back = (quantize(values, to).astype(np.int64) - to.zero_point) * np.float64(to.scale)
    # Half a step, plus the half step the zero point was rounded by at the ends of the range, plus float32 rounding.
    assert np.abs(back - values).max() <= to.scale * (1.0 + 1e-4)


@given(WEIGHTS)
def test_weight_codes_are_symmetric_and_within_half_a_step(weight: np.ndarray) -> None:
    tensor = quantize_weight(weight, 0)
    assert tensor.codes.min() >= -127
    scale = tensor.scale.reshape(-1, *[1] * (weight.ndim - 1)).astype(np.float64)
    assert (np.abs(tensor.dequantize() - weight) <= scale * (0.5 + 1e-4)).all()


@given(WEIGHTS)
def test_quantizing_dequantized_weights_changes_nothing(weight: np.ndarray) -> None:
    once = quantize_weight(weight, 0)
    twice = quantize_weight(once.dequantize(), 0, min_scale=once.scale)
    np.testing.assert_array_equal(once.codes, twice.codes)


@given(WEIGHTS)
def test_pair_safe_codes_never_saturate_sixteen_bits(weight: np.ndarray) -> None:
    codes = quantize_weight(weight, 0, min_scale=pair_safe_scale(weight)).codes
    orders = [codes] if weight.ndim == 2 else [codes, np.moveaxis(codes, 1, -1)]
    for ordered in orders:
        rows = ordered.reshape(len(codes), -1).astype(np.int64)
        rows = np.pad(rows, ((0, 0), (0, rows.shape[1] % 2)))
        # Worst activations: 255 where a product has the sign in question, 0 elsewhere.
        for side in (rows, -rows):
            sums = 255 * np.maximum(side, 0).reshape(len(rows), -1, 2).sum(axis=2)
            assert sums.max(initial=0) <= 32767


def test_full_range_codes_do_saturate_sixteen_bits() -> None:
    codes = quantize_weight(np.ones((1, 2), np.float32), 0).codes.astype(np.int64)
    assert 255 * codes.sum() > 32767  # what pair_safe_scale is for


def test_bias_of_a_dead_channel_stays_representable() -> None:
    weight, bias, input_scale = np.zeros((2, 3), np.float32), np.array([1e3, -5.0], np.float32), 1e-3
    codes = quantize_weight(weight, 0, min_scale=min_weight_scale(bias, input_scale))
    back = quantize_bias(bias, input_scale, codes.scale).dequantize()
    np.testing.assert_allclose(back, bias, rtol=1e-6)  # int32 has 31 bits; float32 scales carry 24


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_a_constant_zero_tensor_has_a_finite_grid(dtype: str) -> None:
    to = grid(0.0, 0.0, dtype, symmetric=False)  # type: ignore[arg-type]
    assert to.scale > 0
    assert quantize(np.zeros(3, np.float32), to).tolist() == [to.zero_point] * 3


@pytest.mark.parametrize(
    ("bits", "symmetric", "expected"),
    [(8, True, (-127, 127)), (8, False, (0, 255)), (4, True, (-8, 7)), (4, False, (0, 15)), (2, True, (-2, 1))],
)
def test_codes_of_int8_leave_out_minus_128_and_narrower_ones_use_all(
    bits: int, symmetric: bool, expected: tuple[int, int]
) -> None:
    assert code_range(bits, symmetric=symmetric) == expected


def test_the_uneven_ends_of_symmetric_codes_are_both_used() -> None:
    scale, zero = fit(np.array([-8.0, -1.0]), np.array([3.0, 7.0]), -8, 7, symmetric=True)
    np.testing.assert_array_equal(scale, [1.0, 1.0])
    np.testing.assert_array_equal(zero, [0, 0])


def test_the_zero_point_is_the_code_nearest_to_zero() -> None:
    scale, zero = fit(np.array([-1.7, 2.0]), np.array([13.3, 30.0]), 0, 15, symmetric=False)
    np.testing.assert_allclose(scale, [1.0, 2.0])
    np.testing.assert_array_equal(zero, [2, 0])  # 1.7 rounds to 2; a range above zero is widened to it


def test_a_bias_beyond_32_bits_stays_at_their_end() -> None:
    found = quantize_bias(np.array([1e9, -1e9]), 1e-4, np.array([1e-4, 1e-4]))
    np.testing.assert_array_equal(found.codes, [2**31 - 1, -(2**31 - 1)])


def test_axes_may_be_counted_from_the_end() -> None:
    weight = np.random.default_rng(0).normal(size=(5, 3, 2)) * np.array([1.0, 30.0, 0.1])[:, None]
    last, first = (quantize_weight(weight.astype(np.float32), axis) for axis in (-2, 1))
    np.testing.assert_array_equal(last.codes, first.codes)
    np.testing.assert_array_equal(last.dequantize(), first.dequantize())
