"""Packed codes against onnx's own unpacking, through a file."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress import model as models
from deploycompress.quantization.packing import code_dtype, pack, stored, unpack


@st.composite
def coded(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    """Codes of any shape, signed or not, with their width."""
    bits = draw(st.sampled_from([8, 4, 2]))
    signed = draw(st.booleans())
    shape = tuple(draw(st.lists(st.integers(0, 7), min_size=1, max_size=3)))
    low = -(2 ** (bits - 1)) if signed else 0
    values = draw(st.lists(st.integers(low, low + 2**bits - 1), min_size=math.prod(shape), max_size=math.prod(shape)))
    return np.array(values, np.int8 if signed else np.uint8).reshape(shape), bits


@given(coded())
def test_codes_survive_packing(given: tuple[np.ndarray, int]) -> None:
    codes, bits = given
    signed = codes.dtype == np.int8
    packed = pack(codes, bits)
    assert packed.nbytes == math.ceil(codes.size * bits / 8)
    np.testing.assert_array_equal(unpack(packed, bits, codes.shape, signed=signed), codes)


@given(coded())
def test_onnx_reads_the_same_codes(given: tuple[np.ndarray, int]) -> None:
    codes, bits = given
    proto = ir.to_proto(stored(codes, bits, name="w"))
    assert proto.data_type == code_dtype(bits, signed=codes.dtype == np.int8).value
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(proto).astype(codes.dtype), codes)


@pytest.mark.parametrize("external", [False, True])
@pytest.mark.parametrize("bits", [8, 4, 2])
def test_codes_survive_a_file(tmp_path: Path, bits: int, external: bool) -> None:
    codes = np.random.default_rng(bits).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (61, 67)).astype(np.int8)
    dtype = code_dtype(bits, signed=True)
    value = ir.val("w", dtype=dtype, shape=ir.Shape(codes.shape), const_value=stored(codes, bits, name="w"))
    node = ir.node("Identity", [value])
    node.outputs[0].name, node.outputs[0].dtype, node.outputs[0].shape = "y", dtype, ir.Shape(codes.shape)
    graph = ir.Graph([], [node.outputs[0]], nodes=[node], initializers=[value], opset_imports={"": 25}, name="g")
    path = tmp_path / "codes.onnx"
    models.save(ir.Model(graph, ir_version=13), path, external_data=external)
    loaded = onnx.load(path).graph.initializer[0]
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(loaded).astype(np.int8), codes)
