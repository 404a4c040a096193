"""Conv | Gemm -> Mul, Div, Add, Sub by constants ==> one node."""

from __future__ import annotations

import numpy as np
import pytest

from deploycompress.passes.fold_affine import FoldAffine
from tests import zoo
from tests.passes.running import assert_same_outputs


def test_chain_of_four_operators_becomes_one_conv() -> None:
    before = zoo.conv_affine()
    after = FoldAffine()(before).model
    assert [node.op_type for node in after.graph] == ["Conv"]
    assert_same_outputs(before, after)


@pytest.mark.parametrize("expression", ["Mul(h, k)", "Mul(k, h)", "Add(k, h)", "Sub(h, k)", "Sub(k, h)", "Div(h, k)"])
@pytest.mark.parametrize("shape", [(), (1,), (6,), (1, 6)])
def test_gemm_takes_a_constant_for_each_column(expression: str, shape: tuple[int, ...]) -> None:
    before = zoo.model(
        f"g (float[N,4] x) => (float[N,6] y) {{ h = Gemm(x, w) y = {expression} }}",
        w=zoo.normal(4, 6),
        k=zoo.positive(*shape),
    )
    after = FoldAffine()(before).model
    assert [node.op_type for node in after.graph] == ["Gemm"]
    assert_same_outputs(before, after)


@pytest.mark.parametrize("shape", [(3,), (4, 1, 3), (2, 4, 1, 1)])
def test_constant_that_is_not_one_per_channel_is_refused(shape: tuple[int, ...]) -> None:
    before = zoo.model(
        "g (float[1,2,3,3] x) => (float[A,4,3,3] y) { h = Conv(x, w) y = Mul(h, k) }",
        w=zoo.normal(4, 2, 1, 1),
        k=zoo.positive(*shape),
    )
    result = FoldAffine()(before)
    assert result.changes == ()
    assert [r.reason for r in result.refusals] == [f"the constant of shape {shape} is not one value per output channel"]


@pytest.mark.parametrize(
    ("expression", "reason"), [("Div(k, h)", "it divides by the result"), ("Div(h, zero)", "it divides by zero")]
)
def test_division_that_cannot_be_folded_says_why(expression: str, reason: str) -> None:
    before = zoo.model(
        f"g (float[N,4] x) => (float[N,6] y) {{ h = Gemm(x, w) y = {expression} n = Add(k, zero) }}",
        w=zoo.normal(4, 6),
        k=zoo.positive(6),
        zero=np.zeros(6, np.float32),
    )
    assert [r.reason for r in FoldAffine()(before).refusals] == [reason]


def test_scalar_shared_by_two_convs_is_read_not_changed() -> None:
    before = zoo.model(
        "g (float[1,2,3,3] x) => (float[1,4,3,3] y) { h = Conv(x, w) i = Mul(h, k) j = Conv(i, u) y = Mul(j, k) }",
        w=zoo.normal(2, 2, 1, 1),
        u=zoo.normal(4, 2, 1, 1),
        k=np.float32(3),
    )
    result = FoldAffine()(before)
    assert len(result.changes) == 2
    assert_same_outputs(before, result.model)
