"""Operators that return their input go; those that stand between two names the caller sees stay."""

from __future__ import annotations

import numpy as np
import pytest

from deploycompress.passes.eliminate_noops import EliminateNoOps
from tests import zoo
from tests.passes.running import assert_same_outputs, checks, outputs


def test_chain_of_noops_disappears_and_the_one_between_input_and_output_stays() -> None:
    before = zoo.noops()
    result = EliminateNoOps()(before)
    assert [node.op_type for node in result.model.graph] == ["Relu", "Identity"]
    assert [str(r) for r in result.refusals] == ["z: it hands a graph input or initializer to a graph output"]
    assert_same_outputs(before, result.model)


@pytest.mark.parametrize(
    "expression",
    [
        "Cast<to=10>(x)",
        "Transpose<perm=[1,0]>(x)",
        "Transpose(x)",
        "Concat<axis=0>(x, x)",
        "Reshape(x, other)",
        "Reshape<allowzero=1>(x, zeros)",
        "Slice(x, one, end)",
        "Slice(x, zero, one)",
        "Slice(x, zero, end, zero, minus)",
        "Pad(x, pads)",
        "Expand(x, big)",
        "Tile(x, twice)",
        "Expand(x, cube)",
        "ReduceSum<keepdims=1>(x, one)",
        "Mul(x, ones)",  # it raises the rank
        "Add(x, nought)",  # -0 + 0 is +0
        "Mul(x, nought)",
        "Clip(x, nought)",
        "Div(x, nought)",
        "Sub(x, unit)",
        "Mul(x, mixed)",
    ],
)
def test_operator_that_changes_something_stays(expression: str) -> None:
    arrays = {
        "other": [-1],
        "zeros": [0, 0],
        "zero": [0],
        "one": [1],
        "minus": [-1],
        "end": [2**40],
        "pads": [0, 0, 0, 1],
        "big": [5, 1, 1],
        "twice": [2, 1],
        "cube": [1, 1, 1],
    }
    weights = {k: np.asarray(v, np.int64) for k, v in arrays.items() if k in expression}
    floats = {"ones": np.ones((1, 1, 1), np.float32), "nought": np.float32(0), "unit": np.float32(1)}
    floats["mixed"] = np.asarray([1, 1, 2, 1], np.float32)
    weights |= {k: v for k, v in floats.items() if k in expression}
    model = zoo.model(f"g (float[4,4] x) => (float[4,4] y) {{ h = {expression} y = Abs(h) }}", **weights)
    assert EliminateNoOps()(model).changes == ()


@pytest.mark.parametrize(
    "expression",
    [
        "Mul(x, unit)",
        "Div(x, row)",
        "Sub(x, nought)",
        "Clip(x)",
        "Split<axis=1>(x)",
        "Expand(x, keep)",
        "ReduceMean<axes=[1], keepdims=1>(x)",
        "ReduceSum<keepdims=1>(x, one)",
        "Reshape(x, same)",
    ],
)
def test_operator_that_changes_nothing_goes_with_a_free_batch(expression: str) -> None:
    arrays = {
        "unit": np.float32(1),
        "row": np.ones((1, 4), np.float32),
        "nought": np.float32(0),
        "keep": np.asarray([1, 1], np.int64),
        "one": np.asarray([1], np.int64),
        "same": np.asarray([0, 1, 4], np.int64),
    }
    weights = {k: v for k, v in arrays.items() if k in expression}
    before = zoo.model(f"g (float[N,1,4] x) => (float[N,1,4] y) {{ h = {expression} y = Abs(h) }}", **weights)
    after = EliminateNoOps()(before).model
    assert [node.op_type for node in after.graph] == ["Abs"]
    for free in (0, 1, 3):
        assert_same_outputs(before, after, free=free)


def test_integer_plus_nothing_goes() -> None:
    before = zoo.model("g (int64[3] x) => (int64[3] y) { h = Add(x, nought) y = Abs(h) }", nought=np.int64(0))
    assert [node.op_type for node in EliminateNoOps()(before).model.graph] == ["Abs"]


@pytest.mark.parametrize("target", [[0, 0, 0], [0, -1, 6], [-1, 4, 6], [0, 4, -1]])
def test_reshape_to_the_same_axes_goes_even_with_a_free_batch(target: list[int]) -> None:
    before = zoo.model(
        "g (float[N,4,6] x) => (float[N,4,6] y) { h = Reshape(x, t) y = Relu(h) }", t=np.asarray(target, np.int64)
    )
    after = EliminateNoOps()(before).model
    assert [node.op_type for node in after.graph] == ["Relu"]
    for free in (1, 3):
        assert_same_outputs(before, after, free=free)


@pytest.mark.parametrize("target", [[-1, 6], [-1, 6, 4], [2, -1, 6], [-1, 2, 12]])
def test_reshape_to_other_axes_stays(target: list[int]) -> None:
    model = zoo.model("g (float[N,4,6] x) => (float y) { h = Reshape(x, t) y = ReduceSum(h) }", t=np.asarray(target))
    assert EliminateNoOps()(model).changes == ()


def test_dropout_in_training_mode_stays() -> None:
    model = zoo.model(
        "g (float[4] x) => (float[4] y) { h = Dropout(x, ratio, on) y = Relu(h) }",
        ratio=np.float32(0.5),
        on=np.asarray(True),
    )
    assert EliminateNoOps()(model).changes == ()


def test_dropout_whose_mask_is_read_is_refused() -> None:
    model = zoo.model("g (float[4] x) => (float[4] y, bool[4] mask) { h, mask = Dropout(x) y = Relu(h) }")
    assert [r.reason for r in EliminateNoOps()(model).refusals] == ["another output of the node is in use"]


def test_identity_that_hands_an_outer_value_to_a_branch_output_stays() -> None:
    before = zoo.if_captures()
    result = EliminateNoOps()(before)
    # Those before the If and before output a go; `b = Identity(i)` stays: a body has to make its outputs itself.
    assert "it hands a value of the outer graph to a graph output" in [r.reason for r in result.refusals]
    assert {c.where for c in result.changes} == {"i", "a"}
    for seed in range(4):
        assert_same_outputs(before, result.model, seed=seed)


def test_identity_between_two_graph_outputs_keeps_both_names() -> None:
    before = zoo.model("g (float[4] x) => (float[4] a, float[4] b) { a = Relu(x) b = Identity(a) }")
    result = EliminateNoOps()(before)
    assert [r.reason for r in result.refusals] == ["its input and its output are both graph outputs"]
    assert_same_outputs(before, result.model)


@pytest.mark.parametrize("expression", ["Expand(x, wide)", "ReduceL2<axes=[1], keepdims=1>(x)", "Mul(x, long)"])
def test_operator_that_changes_something_stays_with_a_free_batch(expression: str) -> None:
    arrays = {"wide": np.asarray([1, 5, 1], np.int64), "long": np.ones((3, 1, 1), np.float32)}
    weights = {k: v for k, v in arrays.items() if k in expression}
    before = zoo.model(f"g (float[N,1,4] x) => (float[A,B,C] y) {{ h = {expression} y = Neg(h) }}", **weights)
    assert EliminateNoOps()(before).changes == ()


def test_clip_by_attributes_stays() -> None:
    before = zoo.model("g (float[4] x) => (float[4] y) { h = Clip<min=0.0>(x) y = Neg(h) }", opset=9)
    assert EliminateNoOps()(before).changes == ()


def test_split_whose_other_part_nobody_reads_stays() -> None:
    before = zoo.model("g (float[4] x) => (float[2] y) { h, k = Split<axis=0>(x) y = Neg(h) }")
    assert EliminateNoOps()(before).changes == ()


def test_one_that_a_caller_may_replace_stays() -> None:
    before = zoo.model("g (float[4] x, float[1] unit) => (float[4] y) { h = Mul(x, unit) y = Neg(h) }", unit=[1.0])
    assert EliminateNoOps()(before).changes == ()


def test_ones_as_large_as_a_weight_are_not_read() -> None:
    before = zoo.model(
        "g (float[16385] x) => (float[16385] y) { h = Mul(x, w) y = Neg(h) }", w=np.ones(16385, np.float32)
    )
    assert EliminateNoOps()(before).changes == ()


def test_scalar_of_any_rank_is_neutral() -> None:
    before = zoo.model(
        "g (float[N,4] x, int64[K] shape) => (float[?,?] y) { r = Reshape(x, shape) h = Mul(r, unit) y = Neg(h) }",
        unit=np.float32(1),
    )
    assert [node.op_type for node in EliminateNoOps()(before).model.graph] == ["Reshape", "Neg"]


def test_types_that_are_not_known_are_not_equal() -> None:
    before = zoo.model(
        "g (float[4] x) => (float[4] y) { a = own.Op(x) b = own.Op(x) h = CastLike(a, b) y = Cast<to=1>(h) }",
        imports=', "own" : 1',
    )
    assert EliminateNoOps()(before).changes == ()


@pytest.mark.parametrize(
    ("operator", "zero", "goes"), [("Add", -0.0, True), ("Add", 0.0, False), ("Sub", 0.0, True), ("Sub", -0.0, False)]
)
def test_zero_that_turns_minus_zero_into_plus_zero_stays(operator: str, zero: float, goes: bool) -> None:
    before = zoo.model(
        f"g (float[4] x) => (float[4] y) {{ h = {operator}(x, zero) y = Reciprocal(h) }}", zero=np.float32(zero)
    )
    result = EliminateNoOps()(before)
    assert bool(result.changes) == goes
    inputs = {"x": np.asarray([-0.0, 0.0, -1.0, 2.0], np.float32)}
    np.testing.assert_array_equal(outputs(result.model, inputs)["y"], outputs(before, inputs)["y"])


def test_scalar_output_keeps_its_rank() -> None:
    before = zoo.model("g (float x) => (float y) { a = Neg(x) y = Identity(a) }")
    after = EliminateNoOps()(before).model
    assert [node.op_type for node in after.graph] == ["Neg"]
    assert checks(after) is None
