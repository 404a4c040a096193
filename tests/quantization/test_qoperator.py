"""The operator form gives the numbers of the QDQ form, in operators of the standard unless others are allowed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploycompress import model as models
from deploycompress import targets
from deploycompress.errors import UnsupportedError
from deploycompress.quantization.qoperator import CONTRIB, to_qoperator
from tests.quantization.nets import feeds, fused, quantized, residual_net, run
from tests.quantization.test_plan import concatenated_net
from tests.zoo import model, normal


def ops(net: ir.Model) -> Counter[str]:
    """Operators of the file, those of the runtime's own domain in full."""
    return Counter(f"{node.domain}:{node.op_type}" if node.domain else node.op_type for node in net.graph)


def moved_net() -> ir.Model:
    """Values padded, pooled, transposed and flattened between two layers."""
    return model(
        """g (float[N,3,8,8] x) => (float[N,5] y) {
            c = Conv(x, w0, b0)  r = Relu(c)  q = Pad(r, pads)  p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(q)
            t = Transpose<perm=[0,2,3,1]>(p)  f = Flatten(t)  m = MatMul(f, w1)  y = Add(m, b1) }""",
        w0=normal(4, 3, 3, 3),
        b0=normal(4),
        pads=np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        w1=normal(64, 5),
        b1=normal(5),
    )


@settings(max_examples=20)
@given(
    net=st.sampled_from([residual_net(), residual_net("Clip(c0)"), concatenated_net(), moved_net()]),
    target=st.sampled_from(["server-cpu-avx2", "mobile-arm64"]),
    contrib=st.booleans(),
    per_channel=st.booleans(),
    seed=st.integers(0, 999),
)
def test_the_numbers_are_those_of_the_qdq_form(
    net: ir.Model, target: str, contrib: bool, per_channel: bool, seed: int
) -> None:
    rules = targets.load(target).quant.model_copy(update={"per_channel": per_channel, "pair_safe": True})
    qdq = quantized(net, targets.load(target).model_copy(update={"quant": rules}))[1]
    feed = {"x": normal(2, 3, 8, 8, seed=seed)}
    expected, found = run(qdq, feed)["y"], run(to_qoperator(qdq, contrib=contrib), feed)["y"]
    # The same kernels on the same codes; only the last multiplication may be rounded in another order.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_fused_kernels_of_both_forms_give_equal_codes() -> None:
    net = model(
        "g (float[1,3,8,8] x) => (float[1,4,4,4] y) { c = Conv(x, w, b) r = Relu(c) y = Conv(r, v) }",
        w=normal(8, 3, 3, 3),
        b=normal(8),
        v=normal(4, 8, 3, 3),
    )
    _, qdq = quantized(net)
    for feed in feeds(net)[:4]:
        np.testing.assert_array_equal(run(qdq, feed)["y"], run(to_qoperator(qdq), feed)["y"])


def test_the_standard_form_holds_standard_operators_alone() -> None:
    written = to_qoperator(quantized(residual_net())[1])
    assert ops(written) == {
        "QuantizeLinear": 3,  # of the input, and behind Add and the pool, which have no 8-bit operator
        "DequantizeLinear": 3,  # both inputs of the Add, that of the pool
        "QLinearConv": 2,
        "Add": 2,  # one of them adds the int32 bias
        "GlobalAveragePool": 1,
        "Flatten": 1,
        "MatMulInteger": 1,
        "Cast": 1,
        "Mul": 1,
    }
    assert CONTRIB not in written.graph.opset_imports
    assert all(value.uses() for value in written.graph.initializers.values())


def test_with_the_operators_of_the_runtime_nothing_stays_in_qdq_form(tmp_path: Path) -> None:
    written = to_qoperator(quantized(residual_net())[1], contrib=True)
    assert ops(written) == {
        "QuantizeLinear": 1,
        "QLinearConv": 2,
        f"{CONTRIB}:QLinearAdd": 1,
        f"{CONTRIB}:QLinearGlobalAveragePool": 1,
        "Flatten": 1,
        f"{CONTRIB}:QGemm": 1,
    }
    assert fused(written, tmp_path)["QLinearConv"] == 2
    assert written.graph.opset_imports[CONTRIB] == 1


def test_values_are_moved_as_codes() -> None:
    written = to_qoperator(quantized(moved_net())[1])
    assert ops(written)["DequantizeLinear"] == 0
    assert ops(written)["QuantizeLinear"] == 1
    pad = next(node for node in written.graph if node.op_type == "Pad")
    assert pad.inputs[2] is written.graph.initializers["r_zero_point"]


def test_the_qdq_graph_given_is_not_touched() -> None:
    _, qdq = quantized(residual_net())
    before = models.serialize(qdq)
    to_qoperator(qdq, contrib=True)
    assert models.serialize(qdq) == before


def test_a_target_with_float_biases_is_refused() -> None:
    _, qdq = quantized(residual_net(), targets.load("server-tensorrt"))
    with pytest.raises(UnsupportedError, match=r"Conv 'c0' has a float bias; its operator form takes int32; use QDQ"):
        to_qoperator(qdq)


def test_values_moved_to_another_grid_are_converted_as_before() -> None:
    net = model(
        """g (float[1,4] x) => (float[4,1] y) {
            a = QuantizeLinear(x, s, z)  b = DequantizeLinear(a, s, z)  t = Transpose<perm=[1,0]>(b)
            c = QuantizeLinear(t, u, z)  y = DequantizeLinear(c, u, z) }""",
        s=np.float32(0.5),
        u=np.float32(0.25),
        z=np.uint8(0),
    )
    written = to_qoperator(net)
    feed = {"x": np.float32([[1, 2, 3, 4]])}
    np.testing.assert_array_equal(run(written, feed)["y"], run(net, feed)["y"])
    assert ops(written) == ops(net)


def by_hand(body: str, results: str = "float[N,4,M,K] y", code: type = np.uint8, **weights: np.ndarray) -> ir.Model:
    """A QDQ graph behind d, the dequantized x [N,3,8,8]; w and its DequantizeLinear v have four outputs."""
    given = {"w": np.arange(-54, 54, dtype=np.int8).reshape(4, 3, 3, 3), "t": np.float32(0.02), "o": np.int8(0)}
    return model(
        f"""g (float[N,3,8,8] x) => ({results}) {{
            q = QuantizeLinear(x, s, z)  d = DequantizeLinear(q, s, z)  v = DequantizeLinear(w, t, o)  {body} }}""",
        opset=21,
        ir_version=10,
        s=np.float32(0.02),
        z=code(128),
        **(given | weights),
    )


REQUANTIZED = "c = QuantizeLinear(a, s, z)  y = DequantizeLinear(c, s, z)"


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        (by_hand("y = Conv(d, v)"), "has a float output"),
        (by_hand(f"a = Conv(d, v)  {REQUANTIZED}", "float[N,4,M,K] y, float[N,4,M,K] a"), "has a float output"),
        (
            by_hand(f"a = Conv(d, v)  {REQUANTIZED}  b = Neg(a)", "float[N,4,M,K] y, float[N,4,M,K] b"),
            "has a float output",
        ),
        (by_hand(f"a = Conv(d, v)  {REQUANTIZED}", code=np.uint16), "has 16-bit codes"),
    ],
)
def test_a_layer_that_the_operators_cannot_hold_is_refused(net: ir.Model, reason: str) -> None:
    with pytest.raises(UnsupportedError, match=reason):
        to_qoperator(net)


@pytest.mark.parametrize(
    ("body", "results"),
    [
        ("f = Neg(x)  a = Add(d, f)  " + REQUANTIZED, "float[N,3,M,K] y"),  # one operand is float
        ("a, i = MaxPool<kernel_shape=[2,2]>(d)  " + REQUANTIZED, "float[N,3,M,K] y, int64[N,3,M,K] i"),
        (
            "e = Transpose<perm=[0,1,3,2]>(d)  r = QuantizeLinear(e, s, z)  u = DequantizeLinear(r, s, z)"
            "  y = MatMul(d, u)",
            "float[N,3,M,K] y",
        ),  # no weight: both operands are computed
    ],
    ids=["add", "indices", "product"],
)
def test_what_has_no_form_on_codes_stays_and_gives_the_same(body: str, results: str) -> None:
    net = by_hand(body, results)
    written = to_qoperator(net, contrib=True)
    kept = next(node.op_type for node in net.graph if node.op_type in ("Add", "MaxPool", "MatMul"))
    assert ops(written)[kept] == 1
    feed = {"x": normal(2, 3, 8, 8)}
    for name, expected in run(net, feed).items():
        np.testing.assert_array_equal(run(written, feed)[name], expected)
