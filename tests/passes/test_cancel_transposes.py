"""Transposes that undo each other go, together with the order of axes between them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from deploycompress.errors import ModelRejectedError
from deploycompress.passes.cancel_transposes import CancelTransposes
from tests import zoo
from tests.passes.running import checks, feed, outputs

TO_LAST, TO_FIRST = "Transpose<perm=[0,2,3,1]>", "Transpose<perm=[0,3,1,2]>"


def built(text: str, result: str = "float[A,B,C,D] y", **weights: np.ndarray) -> ir.Model:
    return zoo.model(f"g (float[N,2,3,4] x, float[N,2,3,4] z, bool flag) => ({result}) {{ {text} }}", **weights)


def count(model: ir.Model) -> int:
    return sum(node.op_type == "Transpose" for node in model.graph)


def rewritten(before: ir.Model) -> ir.Model:
    """The model after the pass, its outputs equal bit for bit."""
    after = CancelTransposes()(before).model
    for seed in range(2):
        inputs = feed(before, seed=seed)
        expected, got = outputs(before, inputs), outputs(after, inputs)
        assert list(expected) == list(got)
        for name, value in expected.items():
            np.testing.assert_array_equal(got[name], value, err_msg=name)
    assert checks(after) is None
    assert CancelTransposes()(after).changes == ()
    return after


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"a = {TO_LAST}(x) b = {TO_FIRST}(a) y = Neg(b)", 0),
        (f"a = {TO_LAST}(x) b = Relu(a) y = {TO_FIRST}(b)", 0),
        (f"a = {TO_LAST}(x) b = Add(a, row) c = Mul(deep, b) y = {TO_FIRST}(c)", 0),
        (f"a = {TO_LAST}(x) b = {TO_LAST}(z) c = Add(a, b) y = {TO_FIRST}(c)", 0),
        (f"a = {TO_LAST}(x) b = {TO_LAST}(z) c = Concat<axis=-1>(a, b) y = {TO_FIRST}(c)", 0),
        (f"a = {TO_LAST}(x) b = {TO_LAST}(z) c = Concat<axis=2>(a, b) y = {TO_FIRST}(c)", 0),
        (f"a = {TO_LAST}(x) b = Relu(a) c = {TO_FIRST}(b) d = {TO_FIRST}(b) y = Sub(c, d)", 0),
        (f"a = {TO_LAST}(x) b = PRelu(a, row) y = {TO_FIRST}(b)", 0),
        (f"a = {TO_LAST}(x) b = Clip(a, zero, six) y = {TO_FIRST}(b)", 0),
        ("a = Transpose<perm=[1,0,2,3]>(x) b = Transpose<perm=[0,1,3,2]>(a) y = Neg(b)", 1),
    ],
)
def test_region_between_transposes_works_on_the_axes_as_they_were(text: str, left: int) -> None:
    numbers = {"zero": np.float32(0), "six": np.float32(6), "row": zoo.normal(2), "deep": zoo.positive(3, 1, 2)}
    words = text.replace("(", " ").replace(")", " ").replace(",", " ").split()
    after = rewritten(built(text, **{name: value for name, value in numbers.items() if name in words}))
    assert count(after) == left


def test_result_that_something_else_reads_is_transposed_there() -> None:
    before = built(
        f"a = {TO_LAST}(x) b = Relu(a) c = {TO_FIRST}(b) d = ReduceSum<keepdims=0>(b, last) y = Neg(c)",
        "float[A,B,C,D] y, float[A,B,C] d",
        last=np.asarray([-1], np.int64),
    )
    after = rewritten(before)
    assert Counter(node.op_type for node in after.graph) == {"Relu": 1, "Transpose": 1, "ReduceSum": 1, "Neg": 1}


def test_region_that_would_need_as_many_transposes_stays_and_says_so() -> None:
    before = built(
        f"a = {TO_LAST}(x) e = Exp(a) b = Relu(a) c = {TO_FIRST}(b) d = ReduceSum<keepdims=0>(b, last)"
        " f = ReduceSum<keepdims=0>(e, last) g = Add(d, f) y = Neg(c)",
        "float[A,B,C,D] y, float[A,B,C] g",
        last=np.asarray([-1], np.int64),
    )
    result = CancelTransposes()(before)
    assert result.changes == ()
    assert [str(r) for r in result.refusals] == ["c: as many transposes would be needed elsewhere"]


def test_region_that_is_a_graph_output_or_read_by_something_else_stays() -> None:
    output = built(f"a = {TO_LAST}(x) b = Relu(a) y = {TO_FIRST}(b)", "float[A,B,C,D] y, float[A,C,D,B] b")
    computed = built(f"a = {TO_LAST}(x) r = ReduceMax<keepdims=1>(a) b = Add(a, r) y = {TO_FIRST}(b)")
    joined = built(f"a = {TO_LAST}(x) b = Concat<axis=3>(a, more) y = {TO_FIRST}(b)", more=zoo.normal(2, 3, 4, 2))
    for before in (output, computed, joined):
        assert CancelTransposes()(before).changes == ()


def test_two_outputs_of_one_value_keep_their_names() -> None:
    before = built(
        f"a = {TO_LAST}(x) b = Relu(a) y = {TO_FIRST}(b) s = {TO_FIRST}(b)", "float[A,B,C,D] y, float[A,B,C,D] s"
    )
    after = CancelTransposes()(before).model
    inputs = feed(before)
    for name, value in outputs(before, inputs).items():
        np.testing.assert_array_equal(outputs(after, inputs)[name], value)


def test_body_reads_a_transposed_copy_of_the_outer_value() -> None:
    before = built(
        f"a = {TO_LAST}(x) b = Relu(a) c = {TO_FIRST}(b) d = {TO_FIRST}(b) y = Sub(c, d)"
        " w = If(flag) <then_branch = t () => (float[A,B,C,D] p) { p = Neg(b) },"
        " else_branch = e () => (float[A,B,C,D] q) { q = Abs(b) }>",
        "float[A,B,C,D] y, float[A,B,C,D] w",
    )
    assert count(rewritten(before)) == 1


def test_region_inside_a_body_moves_there() -> None:
    before = built(
        f"y = If(flag) <then_branch = t () => (float[A,B,C,D] p) {{ a = {TO_LAST}(x) b = Relu(a) p = {TO_FIRST}(b) }},"
        " else_branch = e () => (float[A,B,C,D] q) { q = Abs(x) }>"
    )
    after = rewritten(before)
    body = next(iter(after.graph)).attributes["then_branch"].as_graph()
    assert [node.op_type for node in body] == ["Relu"]


def test_constant_that_two_layouts_read_is_copied() -> None:
    before = zoo.model(
        f"g (float[N,2,2,2] x) => (float[N,2,2,2] y) {{ a = {TO_LAST}(x) b = Add(a, row) c = {TO_FIRST}(b)"
        " o = Add(x, row) y = Sub(c, o) }",
        row=zoo.normal(2, 2, 2),
    )
    after = rewritten(before)
    assert count(after) == 0
    assert len(after.graph.initializers) == 2


SWAP = "Transpose<perm=[0,1,3,2]>"


@pytest.mark.parametrize(
    "text",
    [
        f"a = {SWAP}(x) b = Relu(a) c = {SWAP}(b) d = Add(a, c) y = {SWAP}(d)",
        f"a = {SWAP}(x) b = Relu(a) c = {SWAP}(b) d = Add(b, c) y = {SWAP}(d)",
        f"a = {TO_LAST}(x) b = Relu(a) c = {TO_LAST}(b) d = Add(a, c) e = {TO_FIRST}(b) f = {TO_FIRST}(d)"
        " y = Sub(e, f)",
    ],
)
def test_value_beside_its_own_transpose_keeps_its_order(text: str) -> None:
    before = zoo.model(f"g (float[2,3,3,3] x) => (float[A,B,C,D] y) {{ {text} }}")
    after = rewritten(before)
    assert count(after) <= count(before)


_STEPS = (
    "Relu({a})",
    "Mul({a}, {b})",
    "Add({a}, row)",
    "Concat<axis=1>({a}, {b})",
    TO_LAST + "({a})",
    TO_FIRST + "({a})",
    SWAP + "({a})",
)


@given(st.lists(st.tuples(st.sampled_from(_STEPS), st.integers(0, 9), st.integers(0, 9)), min_size=3, max_size=12))
def test_any_graph_of_transposes_gives_the_same_numbers(plan: list[tuple[str, int, int]]) -> None:
    values, text = ["x"], []
    for number, (step, first, second) in enumerate(plan):
        text.append(
            f"v{number} = {step.format(a=values[-1 - first % len(values)], b=values[-1 - second % len(values)])}"
        )
        values.append(f"v{number}")
    sums = [f"s{number} = ReduceMean<keepdims=0>({value})" for number, value in enumerate(values[-3:])]
    names = [f"s{number}" for number in range(len(sums))]
    body = " ".join([*text, *sums, f"m = Sum({', '.join(names)})", f"y = Neg({values[-1]})"])
    model = zoo.model(
        f"g (float[2,2,2,2] x) => (float[A,B,C,D] y, float m) {{ {body} }}", row=zoo.normal(2, 1, 2), opset=17
    )
    try:
        expected = outputs(model, feed(model))
    except ModelRejectedError:
        assume(False)  # a Concat made lengths that do not broadcast
    result = CancelTransposes()(model)
    got = outputs(result.model, feed(model))
    np.testing.assert_array_equal(got["y"], expected["y"])
    np.testing.assert_allclose(got["m"], expected["m"], rtol=1e-4, atol=1e-6)  # sums in another order
    assert count(result.model) <= count(model)
    assert CancelTransposes()(result.model).changes == ()


def test_transposes_back_inside_a_body_are_left_to_the_body() -> None:
    before = built(
        f"a = {TO_LAST}(x) b = Relu(a) y = If(flag) <then_branch = t () => (float[A,B,C,D] p) {{ c = {TO_FIRST}(b)"
        f" p = Neg(c) }}, else_branch = e () => (float[A,B,C,D] q) {{ d = {TO_FIRST}(a) q = Neg(d) }}>"
    )
    assert CancelTransposes()(before).changes == ()


def test_axis_of_an_old_broadcast_stays() -> None:
    before = zoo.model(
        f"g (float[2,2,2,2] x) => (float[2,2,2,2] y) {{ a = {TO_LAST}(x) b = Add<broadcast=1, axis=1>(a, row)"
        f" y = {TO_FIRST}(b) }}",
        opset=6,
        row=zoo.normal(2),
    )
    assert CancelTransposes()(before).changes == ()


def test_stated_shapes_of_the_region_are_not_those_of_the_other_order() -> None:
    given = built(f"a = {TO_LAST}(x) b = Relu(a) c = {TO_FIRST}(b) y = Neg(c)", "float[N,2,3,4] y")
    before = ir.from_proto(onnx.shape_inference.infer_shapes(ir.to_proto(given)))
    after = CancelTransposes()(before).model
    assert count(after) == 0
    onnx.checker.check_model(ir.to_proto(after), full_check=True)
    onnx.shape_inference.infer_shapes(ir.to_proto(after), check_type=True, strict_mode=True)
