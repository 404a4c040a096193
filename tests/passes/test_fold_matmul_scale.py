"""Factors behind a MatMul move into its weight and bias."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from deploycompress.passes.fold_matmul_scale import FoldMatMulScale
from tests import zoo
from tests.passes.running import assert_same_outputs


def built(expression: str, result: str = "float[N,2,3] y", **weights: np.ndarray) -> ir.Model:
    used = {"w": zoo.normal(4, 3), "b": zoo.normal(3), "s": zoo.positive(3), **weights}
    words = f"w {expression}".replace("(", " ").replace(")", " ").replace(",", " ").split()
    arguments = {name: value for name, value in used.items() if name in words}
    return zoo.model(
        f"g (float[N,2,4] x, float[3] given) => ({result}) {{ h = MatMul(x, w) {expression} }}", **arguments
    )


@pytest.mark.parametrize(
    "expression",
    [
        "a = Add(h, b) y = Mul(s, a)",
        "a = Add(b, h) y = Mul(a, s)",
        "a = Add(h, b) y = Div(a, s)",
        "y = Mul(h, s)",
        "y = Div(h, s)",
    ],
)
@pytest.mark.parametrize("shape", [(), (1,), (3,)])
def test_factor_moves_into_weight_and_bias(expression: str, shape: tuple[int, ...]) -> None:
    before = built(expression, s=zoo.positive(*shape))
    after = FoldMatMulScale()(before).model
    assert [node.op_type for node in after.graph] == (["MatMul", "Add"] if "Add" in expression else ["MatMul"])
    assert_same_outputs(before, after)


def test_one_bias_for_all_columns_becomes_one_for_each() -> None:
    before = built("a = Add(h, b) y = Mul(a, s)", b=np.float32(2))
    after = FoldMatMulScale()(before).model
    assert [node.op_type for node in after.graph] == ["MatMul", "Add"]
    assert_same_outputs(before, after)


def test_bias_that_something_else_reads_is_copied() -> None:
    before = built("a = Add(h, b) m = Mul(a, s) y = Add(m, b)")
    after = FoldMatMulScale()(before).model
    assert [node.op_type for node in after.graph] == ["MatMul", "Add", "Add"]
    assert_same_outputs(before, after)


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("y = Mul(h, deep)", "the constant of shape (2, 3) is not one value per column"),
        ("a = Add(h, deep) y = Mul(a, s)", "the bias of shape (2, 3) is not one value per column"),
        ("a = Add(h, given) y = Mul(a, s)", "bias 'given' is a graph input"),
        ("y = Div(h, zeros)", "the folded weights overflow float32"),
        ("m = Mul(h, s) k = MatMul(x, w) y = Add(m, k)", "weight 'w' is shared with 1 other uses"),
    ],
)
def test_what_is_not_exact_is_refused(expression: str, reason: str) -> None:
    before = built(expression, deep=zoo.normal(2, 3), zeros=np.zeros(3, np.float32))
    result = FoldMatMulScale()(before)
    assert result.changes == ()
    assert [r.reason for r in result.refusals] == [reason]


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("y = Mul(h, s)", "float[N,2,3] y, float[N,2,3] h"),
        ("y = Div(s, h)", "float[N,2,3] y"),
        ("m = Mul(h, s) k = Neg(h) y = Add(m, k)", "float[N,2,3] y"),
        ("a = Add(h, b) m = Mul(a, s) y = Add(m, h)", "float[N,2,3] y"),
        ("a = Add(h, b) m = Mul(a, s) y = Add(m, a)", "float[N,2,3] y"),
        ("y = Mul(h, given)", "float[N,2,3] y"),
        ("y = Mul(h, h)", "float[N,2,3] y"),
    ],
)
def test_product_that_is_read_elsewhere_or_not_by_a_constant_stays(expression: str, result: str) -> None:
    assert FoldMatMulScale()(built(expression, result)).changes == ()


def test_axis_of_an_old_broadcast_is_not_the_last_one() -> None:
    before = zoo.model(
        "g (float[2,3,4] x) => (float[2,3,3] y) { h = MatMul(x, w) y = Mul<broadcast=1, axis=1>(h, s) }",
        opset=6,
        w=zoo.normal(4, 3),
        s=zoo.positive(3),
    )
    assert FoldMatMulScale()(before).changes == ()


@pytest.mark.parametrize(
    ("shape", "factors", "reason"),
    [
        ((4,), zoo.positive(), "the weight is float32[4], not a matrix of floats"),
        ((2, 4, 4), zoo.positive(4), "the weight is float32[2, 4, 4], not a matrix of floats"),
        ((4, 3), zoo.positive(1, 1, 1, 3), "the constant of shape (1, 1, 1, 3) is not one value per column"),
        ((4, 1), zoo.positive(3), "the constant of shape (3,) is not one value per column"),
    ],
)
def test_weight_that_is_no_matrix_of_as_many_columns_is_refused(
    shape: tuple[int, ...], factors: np.ndarray, reason: str
) -> None:
    before = built("y = Mul(h, s)", "float y", w=zoo.normal(*shape), s=factors)
    assert [r.reason for r in FoldMatMulScale()(before).refusals] == [reason]


def test_integers_are_refused() -> None:
    before = zoo.model(
        "g (int32[2,4] x) => (int32[2,3] y) { h = MatMul(x, w) y = Div(h, s) }",
        w=np.arange(12, dtype=np.int32).reshape(4, 3),
        s=np.int32(2),
    )
    reasons = [r.reason for r in FoldMatMulScale()(before).refusals]
    assert reasons == ["the weight is int32[4, 3], not a matrix of floats"]


def test_bias_that_would_overflow_is_refused() -> None:
    before = built("a = Add(h, b) y = Mul(a, s)", b=np.full(3, 3e38, np.float32), s=np.float32(2))
    assert [r.reason for r in FoldMatMulScale()(before).refusals] == ["the folded weights overflow float32"]


def test_half_precision_folds() -> None:
    weights = {"w": zoo.normal(4, 3, dtype=np.float16), "s": zoo.positive(3, dtype=np.float16)}
    before = zoo.model("g (float16[2,4] x) => (float16[2,3] y) { h = MatMul(x, w) y = Mul(h, s) }", **weights)
    after = FoldMatMulScale()(before).model
    assert [node.op_type for node in after.graph] == ["MatMul"]
    assert_same_outputs(before, after)


@pytest.mark.parametrize(("factor", "folds"), [(1e-2, True), (1e-4, False), (0, True)])
def test_half_precision_weights_too_small_for_their_digits_are_refused(factor: float, folds: bool) -> None:
    """A layer scale of 1e-4 leaves numbers below 2^-14, which float16 holds with fewer digits, or as 0."""
    weights = {
        "w": (zoo.normal(4, 3) / 50).astype(np.float16),
        "s": np.asarray([1, factor, 1], np.float16),
    }
    before = zoo.model("g (float16[2,4] x) => (float16[2,3] y) { h = MatMul(x, w) y = Mul(h, s) }", **weights)
    result = FoldMatMulScale()(before)
    assert bool(result.changes) == folds
    reasons = [] if folds else ["the folded weights of a column are too small for float16"]
    assert [r.reason for r in result.refusals] == reasons
