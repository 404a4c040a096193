"""A target that is certain becomes a constant, and gives the same shape at every length, 0 included."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from deploycompress.passes.constant_targets import ConstantTargets
from tests import zoo
from tests.passes.running import assert_same_outputs

LENGTHS = (0, 1, 2, 7)


def targets(model: ir.Model) -> dict[str, list[int]]:
    nodes = (node for node in model.graph if node.op_type in ("Reshape", "Expand"))
    return {n.outputs[0].name or "": n.inputs[1].const_value.numpy().tolist() for n in nodes if n.inputs[1].const_value}


def integers(**lists: list[int]) -> dict[str, np.ndarray]:
    return {name: np.asarray(values, np.int64) for name, values in lists.items()}


def test_targets_made_of_own_lengths_become_constants_and_the_arithmetic_goes() -> None:
    before = zoo.computed_targets()
    result = ConstantTargets()(before)
    assert [node.op_type for node in result.model.graph] == ["Reshape", "Reshape", "Expand"]
    assert targets(result.model) == {"y": [0, 0, 24], "f": [0, -1], "w": [1, 5, 6]}
    for free in LENGTHS[1:]:  # [0, -1] of nothing is an error before and after
        assert_same_outputs(before, result.model, free=free)


def test_lengths_of_one_symbol_of_the_file_are_equal_only_where_the_caller_says_so() -> None:
    """Both inputs say N; the runtime lets a caller give 1 and 3."""
    model = zoo.model(
        "g (float[N,1,6] x, float[N,6] z) => (float[?,?,?] y) {"
        " s = Shape(z) n = Gather(s, zero) t = Concat<axis=0>(n, five, six) y = Expand(x, t) }",
        **integers(zero=[0], five=[5], six=[6]),
    )
    result = ConstantTargets()(model)
    assert result.changes == ()
    assert [str(r) for r in result.refusals] == ["y: the target of Expand depends on lengths that are not its own"]
    trusting = ConstantTargets(trust_symbols=True)(model).model
    assert targets(trusting) == {"y": [1, 5, 6]}
    assert_same_outputs(model, trusting)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("n, four, six", [-1, 4, 6]),  # one foreign length: it is what is left
        ("n, m, six", None),  # two of them: which is which?
        ("k, n, six", None),  # beside a copied length a -1 would fail where that length is 0
    ],
)
def test_length_of_another_tensor_may_only_be_what_is_left(target: str, expected: list[int] | None) -> None:
    arrays = {"zero": [0], "first": [1], "four": [4], "six": [6]}
    model = zoo.model(
        "g (float[K,4,6] x, float[N,M] z) => (float[?,?,?] y) { q = Shape(x) k = Gather(q, zero) s = Shape(z)"
        f" n = Gather(s, zero) m = Gather(s, first) t = Concat<axis=0>({target}) y = Reshape(x, t) }}",
        **integers(**arrays),
    )
    result = ConstantTargets()(model)
    assert targets(result.model) == ({} if expected is None else {"y": expected})
    if expected is not None:
        for free in LENGTHS:
            assert_same_outputs(model, result.model, free=free)


def test_zero_that_meant_empty_still_does() -> None:
    model = zoo.model(
        "g (float[N,4,6] x) => (float[?,?] y) { s = Shape(x) n = Gather(s, zero) t = Concat<axis=0>(n, flat)"
        " y = Reshape<allowzero=1>(x, t) }",
        **integers(zero=[0], flat=[24]),
    )
    result = ConstantTargets()(model)
    assert targets(result.model) == {"y": [0, 24]}
    for free in LENGTHS:
        assert_same_outputs(model, result.model, free=free)


def test_target_that_a_caller_gives_stays() -> None:
    model = zoo.model("g (float[N,4] x, int64[2] t) => (float[?,?] y) { y = Reshape(x, t) }")
    assert ConstantTargets()(model).changes == ()


def test_arithmetic_that_something_else_reads_stays() -> None:
    model = zoo.model(
        "g (float[N,4,6] x) => (float[?,?] y, int64[1] n) { s = Shape(x) n = Gather(s, zero)"
        " t = Concat<axis=0>(n, flat) y = Reshape(x, t) }",
        **integers(zero=[0], flat=[24]),
    )
    result = ConstantTargets()(model)
    assert [node.op_type for node in result.model.graph] == ["Shape", "Gather", "Reshape"]
    assert_same_outputs(model, result.model)


def test_axes_in_front_are_new() -> None:
    model = zoo.model(
        "g (float[N,6] x) => (float[?,?,?] y) { s = Shape(x) n = Gather(s, zero) t = Concat<axis=0>(five, n, six)"
        " y = Expand(x, t) }",
        **integers(zero=[0], five=[5], six=[6]),
    )
    result = ConstantTargets()(model)
    assert targets(result.model) == {"y": [5, 1, 6]}
    for free in LENGTHS:
        assert_same_outputs(model, result.model, free=free)
