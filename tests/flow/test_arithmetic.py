"""Counted operations against counting by hand; peaks against the rate of the whole run they came from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from deploycompress.flow.arithmetic import operations, peaks
from deploycompress.flow.executed import execute
from deploycompress.runtime.session import NodeTime, SessionConfig
from tests.zoo import model, normal

CONFIG = SessionConfig(threads=1)


def conv(attributes: str, *weight: int) -> Callable[[], ir.Model]:
    # 16 channels: a multiple of every block of the runtime's channel-blocked layout, which would fill up others.
    text = f"g (float[1,16,9,9] x) => (float[1,M,H,W] y) {{ y = Conv <{attributes}> (x, w) }}"
    return lambda: model(text, w=normal(*weight))


def product(text: str, **weights: np.ndarray) -> Callable[[], ir.Model]:
    return lambda: model(text, **weights)


@pytest.mark.parametrize(
    ("build", "shape", "expected"),
    [
        (conv("pads = [1, 1, 1, 1]", 32, 16, 3, 3), (1, 16, 9, 9), 2 * 32 * 81 * 144),
        (conv("strides = [2, 2]", 32, 16, 3, 3), (1, 16, 9, 9), 2 * 32 * 16 * 144),
        (conv("group = 16", 16, 1, 3, 3), (1, 16, 9, 9), 2 * 16 * 49 * 9),
        (product("g (float[B,5,8] x) => (float[B,5,3] y) { y = MatMul(x, w) }", w=normal(8, 3)), (2, 5, 8), 480),
        (product("g (float[N,8] x) => (float[N,3] y) { y = Gemm(x, w) }", w=normal(8, 3)), (5, 8), 240),
        (product("g (float[8,N] x) => (float[N,3] y) { y = Gemm <transA=1> (x, w) }", w=normal(8, 3)), (8, 5), 240),
    ],
    ids=["conv", "strided", "depthwise", "matmul", "gemm", "gemm of a transposed matrix"],
)
def test_operations_of_what_ran_are_those_counted_by_hand(
    build: Callable[[], ir.Model], shape: tuple[int, ...], expected: int
) -> None:
    executed = execute(build(), {"x": normal(*shape)}, CONFIG, runs=1)
    assert sum(executed.operations.values()) == expected


def test_int8_layers_are_counted_too() -> None:
    weights = {
        "w": np.ones((8, 3), np.int8),
        "s": np.float32(0.1),
        "z": np.uint8(0),
        "t": np.float32(0.1),
        "u": np.int8(0),
    }
    text = """g (uint8[5,8] x) => (uint8[5,3] y) { y = QLinearMatMul(x, s, z, w, t, u, s, z) }"""
    executed = execute(model(text, **weights), {"x": np.ones((5, 8), np.uint8)}, CONFIG, runs=1)
    assert list(executed.operations.values()) == [2 * 5 * 3 * 8]


def test_other_nodes_have_no_operations() -> None:
    timed = NodeTime("a", "Relu", "CPU", 1.0, ((3, 4),), ((3, 4),))
    assert operations(timed, ir.node("Relu", [ir.val("x")])) is None
    assert operations(NodeTime("a", "Conv", "CPU", 1.0, ((1, 3, 4, 4),), ()), ir.node("Conv", [ir.val("x")])) is None


def test_both_peaks_are_rates_a_processor_can_have() -> None:
    found = peaks(CONFIG)
    # One core: from an emulated 1 GFLOP/s to AMX-class 10 TOP/s.
    assert 0.5 < found.float_gops < 1e4
    assert 0.5 < found.int8_gops < 1e4
    assert found.limit_us(int(found.float_gops * 1e9), int8=False) == pytest.approx(1e6, rel=1e-6)


def test_weights_that_were_packed_are_counted_from_the_graph() -> None:
    # ONNX Runtime packs the weight of an int8 convolution and leaves it out of the profile.
    weights = {
        "w": np.ones((32, 16, 3, 3), np.int8),
        "s": np.float32(0.1),
        "z": np.uint8(0),
        "t": np.full(32, 0.1, np.float32),
        "u": np.zeros(32, np.int8),
    }
    text = """g (uint8[1,16,9,9] x) => (uint8[1,32,7,7] y) { y = QLinearConv(x, s, z, w, t, u, s, z) }"""
    executed = execute(model(text, **weights), {"x": np.ones((1, 16, 9, 9), np.uint8)}, CONFIG, runs=1)
    assert list(executed.operations.values()) == [2 * 32 * 49 * 144]
