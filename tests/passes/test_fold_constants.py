"""What can be computed now is an initializer afterwards, and the file does not grow."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from deploycompress.passes import fold_constants
from deploycompress.passes import graph as g
from deploycompress.passes.dead_code import RemoveDeadCode
from deploycompress.passes.fold_constants import FoldConstants
from deploycompress.passes.lift_constants import LiftConstants
from deploycompress.passes.shapes import infer
from tests import zoo
from tests.passes.running import assert_same_outputs


def ops(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph if node.op_type != "Constant"]


def test_constant_chain_becomes_the_value_onnxruntime_computes() -> None:
    before = LiftConstants()(zoo.constants()).model
    after = FoldConstants()(before).model
    assert ops(after) == ["Add"]
    folded = next(node for node in after.graph if node.op_type == "Add").inputs[1].const_value
    # sqrt(2.5 i) in float32, one rounding for the product and one for the root.
    np.testing.assert_allclose(folded.numpy(), np.sqrt(2.5 * np.arange(1, 5)), rtol=2**-22)
    assert_same_outputs(before, after)


def test_large_intermediate_is_never_stored() -> None:
    after = FoldConstants()(LiftConstants()(zoo.constants()).model).model  # 100,000 zeros on the way to one scalar
    assert sum(v.const_value.nbytes for v in after.graph.initializers.values()) < 100


def test_shape_of_known_axes_folds_and_of_free_axes_stays() -> None:
    before = LiftConstants()(zoo.shape_arithmetic()).model
    result = FoldConstants()(before)
    # Unsqueeze makes a graph output and stays, and so does what reads it; the product of the two axes is known.
    assert ops(RemoveDeadCode()(result.model).model) == ["Unsqueeze", "Concat", "Reshape"]
    assert result.model.graph.initializers["ab"].const_value.numpy() == 24
    for free in (1, 5):
        assert_same_outputs(before, result.model, free=free)


def test_shape_written_in_the_file_is_not_believed() -> None:
    before = zoo.model(
        "g (float[N,4] x) => (int64[2] s) <float[7,4] h> { h = Relu(x) t = Shape(h) k = Neg(t) s = Abs(k) }"
    )
    result = FoldConstants()(before)
    assert result.changes == ()
    assert_same_outputs(before, result.model, free=3)


def test_fold_that_would_grow_the_file_is_refused_with_the_bytes() -> None:
    before = zoo.model(
        "g (float[64,64] x) => (float[64,64] y) { e = Expand(one, shape) y = Mul(x, e) }",
        one=np.ones((1, 1), np.float32),
        shape=np.asarray([64, 64], np.int64),
    )
    result = FoldConstants()(before)
    assert [str(r) for r in result.refusals] == ["e: folding Expand would store 16384 bytes"]
    assert ops(FoldConstants(max_growth_bytes=20_000)(before).model) == ["Mul"]


def test_weight_transposed_three_times_over_is_not_stored_three_times() -> None:
    before = zoo.model(
        "g (float[64] x) => (float[64] a, float[64] b, float[64] c) { t = Transpose(w) u = Neg(t) v = Abs(t)"
        " a = MatMul(t, x) b = MatMul(u, x) c = MatMul(v, x) }",
        w=zoo.normal(64, 64),
    )
    result = FoldConstants()(before)
    stored = sum(v.const_value.nbytes for v in result.model.graph.initializers.values())
    assert stored <= 64 * 64 * 4 + FoldConstants().max_growth_bytes
    assert_same_outputs(before, result.model)


def test_weight_read_by_a_transpose_alone_is_stored_transposed() -> None:
    before = zoo.model("g (float[N,4] x) => (float[N,6] y) { t = Transpose(w) y = MatMul(x, t) }", w=zoo.normal(6, 4))
    after = FoldConstants(max_growth_bytes=0)(before).model
    assert ops(after) == ["MatMul"]
    assert [v.name for v in after.graph.initializers.values()] == ["t"]


def test_dequantize_linear_of_a_weight_stays() -> None:
    result = FoldConstants()(zoo.quantized())
    assert result.changes == ()


@pytest.mark.parametrize("op", ["RandomNormalLike(k)", "RandomUniformLike(k)", "Bernoulli(k)"])
def test_random_operator_is_never_folded(op: str) -> None:
    model = zoo.model(f"g (float[4] x) => (float[4] y) {{ r = {op} y = Add(x, r) }}", k=zoo.positive(4))
    assert FoldConstants()(model).changes == ()


def test_integer_division_by_a_constant_zero_is_left_to_the_runtime() -> None:
    model = zoo.model(
        "g (int64[2] x) => (int64[2] y) { q = Div(k, zero) y = Add(x, q) }",
        k=np.asarray([1, 2], np.int64),
        zero=np.asarray([1, 0], np.int64),
    )
    result = FoldConstants()(model)
    assert result.changes == ()
    assert "Div cannot be computed now" in result.refusals[0].reason


def test_fold_inside_a_loop_body_keeps_the_body_alone() -> None:
    before = zoo.model(
        "g (float[4] x) => (float[4] y) { trips = Constant<value = int64 {3}>() go = Constant<value = bool {1}>()"
        " y = Loop(trips, go, x) <body = b (int64 i, bool c, float[4] s) => (bool d, float[4] t) { d = Identity(c)"
        " two = Constant<value_float = 2.0>() k = Mul(w, w) t = Add(s, k) }> }",
        w=zoo.normal(4),
    )
    result = FoldConstants()(before)
    assert [c.where for c in result.changes] == ["k"]
    assert_same_outputs(before, result.model)


def test_default_that_the_caller_may_override_is_not_constant() -> None:
    model = zoo.model("g (float[4] x) => (float[4] y) { k = Neg(w) y = Add(x, k) }", w=zoo.normal(4))
    model.graph.inputs.append(model.graph.initializers["w"])
    assert FoldConstants()(model).changes == ()


def test_operator_onnxruntime_cannot_compute_is_refused_with_its_reason() -> None:
    model = zoo.model(
        "g (int64[4] x) => (int64[1] y) { k = Reshape(w, bad) n = Size(k) y = Add(x, n) }",
        w=zoo.normal(4),
        bad=np.asarray([3], np.int64),
    )
    reasons = [r.reason for r in FoldConstants()(model).refusals]
    assert any("Reshape cannot be computed now" in reason for reason in reasons)


def test_shape_inference_that_fails_is_said() -> None:
    model = zoo.model("g (float[4] x) => (int64[1] y) { h = Relu(x) n = Shape(h) y = Neg(n) }")
    next(iter(model.graph)).domain = "unknown.domain"
    result = FoldConstants()(model)
    assert any("shape inference failed" in r.reason for r in result.refusals)
    assert len(g.nodes(result.model)) == 3


def test_chain_of_reshapes_takes_two_rounds_of_inference_whatever_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inference of the whole model proves one more Reshape a round; each fold tells the nodes behind it."""
    rounds = []
    monkeypatch.setattr(fold_constants, "infer", lambda model: rounds.append(0) or infer(model))
    links = 12
    body = " ".join(
        f"n{i} = Shape(h{i}) e{i} = Equal(n{i}, minus) t{i} = Where(e{i}, minus, n{i}) h{i + 1} = Reshape(h{i}, t{i})"
        for i in range(links)
    )
    before = zoo.model(
        f"g (float[2,3] x) => (float[?,?] y) {{ h0 = Abs(x) {body} y = Neg(h{links}) }}",
        minus=np.asarray([-1], np.int64),
    )
    result = FoldConstants()(before)
    assert ops(result.model) == ["Abs", *["Reshape"] * links, "Neg"]
    assert len(rounds) == 2
    assert_same_outputs(before, result.model)
