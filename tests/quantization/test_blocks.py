"""Codes of blocks: the identities of the affine quantizer, and ONNX Runtime's DequantizeLinear as the reader."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deploycompress.quantization.affine import QuantizedTensor, code_range
from deploycompress.quantization.blocks import quantize_blocks
from deploycompress.quantization.packing import stored
from deploycompress.quantization.spec import WeightSpec
from deploycompress.runtime.session import Session, SessionConfig

WEIGHTS = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 40), st.integers(1, 4)), elements=st.floats(-1e3, 1e3, width=32)
)
UNIFORM = st.builds(WeightSpec, st.sampled_from([8, 4, 2]), st.sampled_from([None, 16]), st.booleans())


def group_of(weight: np.ndarray, spec: WeightSpec) -> np.ndarray:
    """Number of the block of each row."""
    return np.arange(len(weight)) // (spec.block or len(weight))


def steps(tensor: QuantizedTensor, spec: WeightSpec) -> np.ndarray:
    """Scale of every code [K, N], float64."""
    scale = tensor.scale.reshape(-1, tensor.codes.shape[1]).astype(np.float64)
    return scale[group_of(tensor.codes, spec)]


def read_by_the_runtime(tensor: QuantizedTensor, spec: WeightSpec) -> np.ndarray:
    """What DequantizeLinear of ONNX Runtime makes of the stored codes."""
    codes = stored(tensor.codes, spec.bits, name="q")
    zero = stored(tensor.zero_point, spec.bits, name="z")
    inputs = [ir.val(str(t.name), const_value=t) for t in (codes, ir.tensor(tensor.scale, name="s"), zero)]
    attributes = {"axis": 1} if spec.block is None else {"axis": 0, "block_size": spec.block}
    node = ir.node("DequantizeLinear", inputs, attributes)
    out = node.outputs[0]
    out.name, out.dtype, out.shape = "y", ir.DataType.FLOAT, ir.Shape(tensor.codes.shape)
    graph = ir.Graph([], [out], nodes=[node], initializers=inputs, opset_imports={"": 25}, name="g")
    content = ir.to_proto(ir.Model(graph, ir_version=13)).SerializeToString()
    return np.asarray(Session(content, SessionConfig(threads=1)).run({})["y"])


@given(WEIGHTS, UNIFORM)
def test_codes_lie_in_range_and_within_half_a_step(weight: np.ndarray, spec: WeightSpec) -> None:
    tensor = quantize_blocks(weight, spec)
    low, high = code_range(spec.bits, symmetric=spec.symmetric)
    assert tensor.codes.min() >= low
    assert tensor.codes.max() <= high
    # Half a step; the rounded zero point of an asymmetric grid moves its ends by up to half a step more.
    reach = 0.5 if spec.symmetric else 1.0
    error = np.abs(tensor.dequantize().astype(np.float64) - weight)
    assert (error <= steps(tensor, spec) * (reach + 1e-4)).all()  # 1e-4: float32 scales and quotients


@given(WEIGHTS, UNIFORM)
def test_codes_rise_with_the_weights_of_a_block(weight: np.ndarray, spec: WeightSpec) -> None:
    codes = quantize_blocks(weight, spec).codes.astype(int)
    group = group_of(weight, spec)
    for g in range(group[-1] + 1):
        for column in range(weight.shape[1]):
            order = np.argsort(weight[group == g, column], kind="stable")
            assert (np.diff(codes[group == g, column][order]) >= 0).all()


@given(WEIGHTS, UNIFORM, st.floats(-1e3, 1e3, width=32))
def test_zeros_stay_zeros_and_constants_finite(weight: np.ndarray, spec: WeightSpec, value: float) -> None:
    weight[::3] = 0.0
    restored = quantize_blocks(weight, spec).dequantize()
    assert (restored[::3] == 0.0).all()
    constant = quantize_blocks(np.full((20, 2), value, np.float32), spec).dequantize()
    assert np.isfinite(constant).all()
    # A constant is an end of its own grid, which half a step of the zero point may move.
    assert np.abs(constant - value).max() <= abs(value) * 0.51 + 1e-6


@given(WEIGHTS, st.sampled_from([8, 4, 2]), st.sampled_from([None, 16]))
def test_quantizing_twice_changes_nothing(weight: np.ndarray, bits: int, block: int | None) -> None:
    spec = WeightSpec(bits, block)  # type: ignore[arg-type]
    once = quantize_blocks(weight, spec).dequantize()
    twice = quantize_blocks(once, spec).dequantize()
    # The largest weight of a block may have been rounded down, in which case its grid is finer the second time; where
    # the extreme code is in use, nothing moves.
    used = np.abs(once - twice) > 1e-6 * np.abs(once)
    codes = quantize_blocks(weight, spec).codes
    low, high = code_range(bits, symmetric=True)
    full = np.zeros_like(used)
    for g in range(group_of(weight, spec)[-1] + 1):
        rows = group_of(weight, spec) == g
        full[rows] = ((codes[rows] == low) | (codes[rows] == high)).any(axis=0)
    assert not (used & full).any()


@pytest.mark.parametrize("block", [None, 16])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [8, 4, 2])
def test_the_runtime_reads_the_same_weights(bits: int, symmetric: bool, block: int | None) -> None:
    spec = WeightSpec(bits, block, symmetric)  # type: ignore[arg-type]
    tensor = quantize_blocks(np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32), spec)
    np.testing.assert_array_equal(read_by_the_runtime(tensor, spec), tensor.dequantize())


@pytest.mark.parametrize("block", [None, 16])
def test_ternary_keeps_the_mean_of_what_is_above_the_threshold(block: int | None) -> None:
    weight = np.random.default_rng(1).normal(size=(150, 3)).astype(np.float32)  # more rows than one slab
    spec = WeightSpec(2, block, levels="ternary")
    restored = quantize_blocks(weight, spec).dequantize()
    for g in range(group_of(weight, spec)[-1] + 1):
        for column in range(3):
            part = weight[group_of(weight, spec) == g, column].astype(np.float64)
            kept = np.abs(part) > 0.7 * np.abs(part).mean()
            expected = np.sign(part) * kept * np.abs(part[kept]).mean()
            np.testing.assert_allclose(restored[group_of(weight, spec) == g, column], expected, rtol=1e-5)


@pytest.mark.parametrize("bits", [2, 4])
def test_binary_is_the_mean_magnitude_with_the_sign_and_zero_goes_up(bits: int) -> None:
    weight = np.array([[0.5], [-1.5], [0.0], [-0.0]], np.float32)
    tensor = quantize_blocks(weight, WeightSpec(bits, None, levels="binary"))  # type: ignore[arg-type]
    np.testing.assert_array_equal(tensor.dequantize(), [[0.5], [-0.5], [0.5], [0.5]])


@pytest.mark.parametrize("levels", ["uniform", "ternary", "binary"])
def test_weights_that_are_all_zero_stay_finite(levels: str) -> None:
    tensor = quantize_blocks(np.zeros((20, 3), np.float32), WeightSpec(2, 16, levels=levels))  # type: ignore[arg-type]
    assert np.isfinite(tensor.scale).all()
    np.testing.assert_array_equal(tensor.dequantize(), np.zeros((20, 3)))
