"""What runs in int8, what stayed float, and the true reason."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from deploycompress.flow import census
from deploycompress.flow.executed import execute
from deploycompress.runtime.session import SessionConfig
from tests import zoo

U8 = {"s": np.float32(0.05), "z": np.uint8(128)}
WEIGHT = {
    "wq": np.random.default_rng(0).integers(-127, 127, (6, 4, 3, 3)).astype(np.int8),
    "ws": np.float32(0.01),
    "wz": np.int8(0),
}
Q, DQ = "QuantizeLinear", "DequantizeLinear"


def take(text: str, shape: tuple[int, ...], **weights: np.ndarray) -> tuple[census.Census, ir.Model]:
    model = zoo.model(text, **weights)
    feed = {"x": np.random.default_rng(0).standard_normal(shape).astype(np.float32)}
    executed = execute(model, feed, SessionConfig(threads=1), runs=1)
    assert set(executed.times_us) == set(executed.model.graph)
    return census.take(executed.model), executed.model


def conv(tail: str, head: str = f"q = {Q}(x, s, z) d = {DQ}(q, s, z)") -> str:
    return f"g (float[1,4,8,8] x) => (float[1,6,6,6] y) {{ {head} w = {DQ}(wq, ws, wz) c = Conv(d, w) {tail} }}"


def test_conv_between_quantize_and_dequantize_runs_in_int8() -> None:
    found, model = take(conv(f"p = {Q}(c, s, z) y = {DQ}(p, s, z)"), (1, 4, 8, 8), **U8, **WEIGHT)
    kinds = {node.op_type: kind for node, kind in found.kinds.items()}
    assert kinds == {Q: "conversion", "QLinearConv": "int8", DQ: "conversion"} | {
        node.op_type: "int8" for node in model.graph if node.op_type == "Transpose"
    }
    assert found.reasons == {}
    assert found.dequantized_weights == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (conv("y = Neg(c)"), "its output is read by Neg; an int8 Conv needs exactly one reader, QuantizeLinear"),
        (
            conv(f"p = {Q}(c, s, z) e = {DQ}(p, s, z) f = Neg(c) y = Add(e, f)"),
            "its output is read by Neg, QuantizeLinear; an int8 Conv needs exactly one reader, QuantizeLinear",
        ),
        (conv(f"p = {Q}(c, s, z) y = {DQ}(p, s, z)", head="d = Abs(x)"), "its input 'd' is float"),
    ],
)
def test_conv_that_stayed_float_says_why_and_what_it_costs(text: str, reason: str) -> None:
    found, _ = take(text, (1, 4, 8, 8), **U8, **WEIGHT)
    assert list(found.reasons.values()) == [f"{reason} (its weight is dequantized on every run)"]
    assert [node.inputs[0].name for node in found.dequantized_weights] == ["wq"]


def test_float_weight_in_a_quantized_model_is_named() -> None:
    text = (
        f"g (float[1,4,8,8] x) => (float[1,6,4,4] y) {{ q = {Q}(x, s, z) d = {DQ}(q, s, z) w = {DQ}(wq, ws, wz)"
        f" c = Conv(d, w) p = {Q}(c, s, z) e = {DQ}(p, s, z) y = ConvTranspose<pads=[2,2,2,2]>(e, u) }}"
    )
    found, _ = take(text, (1, 4, 8, 8), **U8, **WEIGHT, u=zoo.normal(6, 6, 3, 3))
    assert list(found.reasons.values()) == ["ONNX Runtime has no int8 kernel for ConvTranspose on this provider"]


def test_float_model_gives_no_reasons() -> None:
    model = zoo.conv_batchnorm()
    feed = {"x": zoo.normal(1, 4, 5, 5)}
    found = census.take(execute(model, feed, SessionConfig(threads=1), runs=1).model)
    assert not found.is_quantized
    assert found.reasons == {}


def test_float_bias_keeps_a_gemm_float() -> None:
    text = (
        f"g (float[4,4] x) => (float[4,3] y) {{ q = {Q}(x, s, z) d = {DQ}(q, s, z) w = {DQ}(vq, ws, wz)"
        " y = Gemm(d, w, b) }"
    )
    weights = {k: v for k, v in WEIGHT.items() if k != "wq"}
    vq = np.random.default_rng(0).integers(-127, 127, (4, 3)).astype(np.int8)
    found, _ = take(text, (4, 4), **U8, **weights, vq=vq, b=zoo.normal(3))
    assert list(found.reasons.values()) == [
        "its bias 'b' is float; the int8 kernel takes int32 (its weight is dequantized on every run)"
    ]


def test_movement_of_bytes_counts_as_int8_and_movement_of_floats_does_not() -> None:
    text = (
        f"g (float[1,4,8,8] x) => (float[1,4,4,4] y) {{ q = {Q}(x, s, z)"
        f" m = MaxPool<kernel_shape=[2,2], strides=[2,2]>(q) y = {DQ}(m, s, z) }}"
    )
    found, _ = take(text, (1, 4, 8, 8), **U8)
    assert {node.op_type: kind for node, kind in found.kinds.items()}["MaxPool"] == "int8"
    found, _ = take("g (float[1,4,8,8] x) => (float[1,8,4,8] y) { y = Transpose<perm=[0,2,1,3]>(x) }", (1, 4, 8, 8))
    assert set(found.kinds.values()) == {"other"}


def test_branch_of_an_if_is_timed_and_the_if_without_it() -> None:
    model = zoo.if_folds()
    feed = {"x": zoo.normal(1, 4, 5, 5), "flag": np.asarray(True)}
    executed = execute(model, feed, SessionConfig(threads=1), runs=3)
    assert {"If", "Conv"} <= {node.op_type for node in executed.times_us}
    assert all(time_us >= 0 for time_us in executed.times_us.values())
