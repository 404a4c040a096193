"""MatMul -> Add ==> Gemm, only where the input is certain to be a matrix."""

from __future__ import annotations

import numpy as np
import pytest

from deploycompress.passes.matmul_to_gemm import MatMulToGemm
from tests import zoo
from tests.passes.running import assert_same_outputs


def test_two_layers_become_two_gemms_whichever_side_the_bias_stands() -> None:
    before = zoo.matmul_add()
    result = MatMulToGemm()(before)
    assert [node.op_type for node in result.model.graph] == ["Gemm", "Gemm"]
    for free in (1, 5):
        assert_same_outputs(before, result.model, free=free)


@pytest.mark.parametrize(
    ("shape", "bias", "reason"),
    [
        ("float[N,7,4]", (3,), "the MatMul input has rank 3, not 2"),
        ("float[4]", (3,), "the MatMul input has rank 1, not 2"),
        ("float[N,4]", (2, 3), "the bias has shape (2, 3), not one value for each of 3 columns"),
        ("float[N,4]", (1,), "the bias has shape (1,), not one value for each of 3 columns"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shape: str, bias: tuple[int, ...], reason: str) -> None:
    model = zoo.model(
        f"g ({shape} x) => (float y) {{ h = MatMul(x, w) a = Add(h, c) y = ReduceSum(a) }}",
        w=zoo.normal(4, 3),
        c=zoo.normal(*bias),
    )
    result = MatMulToGemm()(model)
    assert result.changes == ()
    assert [r.reason for r in result.refusals] == [reason]


def test_unknown_rank_is_refused_even_where_the_file_claims_one() -> None:
    model = zoo.model(
        "g (float[N,4] x, int64[K] t) => (float[N,3] y) <float[N,4] r> {"
        " r = Reshape(x, t) h = MatMul(r, w) y = Add(h, c) }",
        w=zoo.normal(4, 3),
        c=zoo.normal(3),
    )
    assert [r.reason for r in MatMulToGemm()(model).refusals] == ["the rank of the MatMul input is unknown"]


def test_integer_matmul_is_refused() -> None:
    model = zoo.model(
        "g (int32[N,4] x) => (int32[N,3] y) { h = MatMul(x, w) y = Add(h, c) }",
        w=np.ones((4, 3), np.int32),
        c=np.ones(3, np.int32),
    )
    assert [r.reason for r in MatMulToGemm()(model).refusals] == ["the weight is INT32"]


def test_product_that_something_else_reads_is_refused() -> None:
    model = zoo.model(
        "g (float[N,4] x) => (float[N,3] y, float[N,3] h) { h = MatMul(x, w) y = Add(h, c) }",
        w=zoo.normal(4, 3),
        c=zoo.normal(3),
    )
    assert [r.reason for r in MatMulToGemm()(model).refusals] == ["the MatMul before it has other users"]


def test_two_computed_operands_are_refused_by_name() -> None:
    model = zoo.model("g (float[N,4] x, float[4,3] w, float[3] c) => (float[N,3] y) { h = MatMul(x, w) y = Add(h, c) }")
    assert [r.reason for r in MatMulToGemm()(model).refusals] == ["weight 'w' is a graph input"]
