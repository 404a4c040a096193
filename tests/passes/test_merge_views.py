"""Chains of views become one Reshape or nothing, wherever the lengths are certain, and nowhere else."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.passes import graph as g
from deploycompress.passes import views
from deploycompress.passes.merge_views import MergeViews
from tests import zoo
from tests.passes.running import assert_same_outputs

INTEGERS = {
    name: np.asarray(values, np.int64)
    for name, values in {
        "zero": [0],
        "one": [1],
        "two": [2],
        "flat": [-1],
        "rows": [0, -1],
        "pair": [6, 4],
        "six": [2, 3, 4],
        "both": [1, 2],
        "column": [1, 6, 1],
        "cube": [-1, 3, 4],
    }.items()
}


def build(text: str) -> ir.Model:
    words = set(text.replace(",", " ").replace("(", " ").replace(")", " ").split())
    return zoo.model(text, **{name: data for name, data in INTEGERS.items() if name in words})


def ops(model: ir.Model) -> list[str]:
    return [node.op_type for node in g.nodes(model)]


def test_chains_of_the_zoo_become_reshapes_or_nothing_in_branches_too() -> None:
    before = zoo.view_chains()
    result = MergeViews()(before)
    # x to y; x to e, which z and a branch read; z; one Reshape in each branch
    assert Counter(ops(result.model)) == {"Reshape": 5, "Sigmoid": 1, "Neg": 1, "If": 1}
    for seed in range(4):
        assert_same_outputs(before, result.model, seed=seed)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("a = Reshape(x, flat) y = Reshape(a, pair)", ["Reshape"]),
        ("a = Reshape(x, flat) b = Reshape(a, six) y = Abs(b)", ["Abs"]),
        ("a = Unsqueeze(x, one) b = Transpose<perm=[1,0,2,3]>(a) y = Squeeze(b, zero)", ["Reshape"]),
        ("a = Unsqueeze(x, one) b = Gather<axis=1>(a, zero) c = Squeeze(b, one) y = Abs(c)", ["Abs"]),
        ("a = Reshape(x, flat) b = Tanh(a) y = Reshape(b, pair)", ["Tanh", "Reshape"]),
        ("a = Reshape(x, flat) b = Tanh(a) c = Reshape(b, six) y = Abs(c)", ["Tanh", "Abs"]),
        # not views, or read elsewhere
        ("a = Reshape(x, flat) b = Softmax(a) y = Reshape(b, pair)", ["Reshape", "Softmax", "Reshape"]),
        ("a = Transpose<perm=[0,2,1]>(x) y = Reshape(a, pair)", ["Transpose", "Reshape"]),
        (
            "a = Reshape(x, flat) b = Reshape(a, pair) c = Neg(a) d = Reshape(c, pair) y = Add(b, d)",
            ["Reshape", "Reshape", "Neg", "Reshape", "Add"],
        ),
    ],
)
def test_chain_of_fixed_lengths(text: str, left: list[str]) -> None:
    before = build(f"g (float[2,3,4] x) => (float[?,?] y) {{ {text} }}")
    before.graph.outputs[0].shape = None
    result = MergeViews()(before)
    assert ops(result.model) == left
    assert_same_outputs(before, result.model)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("a = Unsqueeze(x, one) b = Squeeze(a, one) y = Abs(b)", ["Abs"]),
        ("a = Unsqueeze(x, one) b = Transpose<perm=[1,0,2,3]>(a) y = Squeeze(b, zero)", ["Abs"]),
        ("a = Unsqueeze(x, one) y = Unsqueeze(a, one)", ["Unsqueeze", "Unsqueeze"]),  # two free axes would move
    ],
)
def test_chain_of_free_lengths(text: str, left: list[str]) -> None:
    before = build(f"g (float[N,S,4] x) => (float[?,?,?] y) {{ {text.replace('y =', 'z =')} y = Abs(z) }}")
    before.graph.outputs[0].shape = None
    result = MergeViews()(before)
    assert [op for op in ops(result.model) if op != "Abs"] == [op for op in left if op != "Abs"]
    for free in (0, 1, 5):
        assert_same_outputs(before, result.model, free=free)


def test_chain_that_leaves_one_axis_open_and_keeps_the_others_changes_nothing() -> None:
    before = build("g (float[N,3,4] x) => (float[?,3,4] y) { a = Reshape(x, rows) b = Reshape(a, cube) y = Abs(b) }")
    result = MergeViews()(before)
    assert ops(result.model) == ["Abs"]
    for free in (1, 5):
        assert_same_outputs(before, result.model, free=free)


@pytest.mark.parametrize(
    ("source", "result", "expected"),
    [
        (("n", 3, 4), ("m", 3, 4), True),
        ((None, 3, 4), (None, 3, 4), True),
        (("n", "k", 4), ("m", "k", 4), False),  # k may be 0, and then m is anything
        (("n", 0, 4), ("m", 0, 4), False),
        (("n", "k", 4), ("m", "j", 4), False),
        (("n", 4), ("m", 2), False),
        (("n", 3, 4), ("m", 4, 3), False),
        ((2, 3, 4), ("m", 3, 4), True),
    ],
)
def test_views_change_nothing_where_every_length_but_one_is_fixed(
    source: tuple[int | str | None, ...], result: tuple[int | str | None, ...], expected: bool
) -> None:
    assert views.unchanged(source, result) is expected


def test_view_between_a_graph_input_and_a_graph_output_stays_a_node() -> None:
    before = build("g (float[2,3,4] x) => (float[2,3,4] y) { a = Reshape(x, flat) y = Reshape(a, six) }")
    result = MergeViews()(before)
    assert ops(result.model) == ["Reshape"]
    assert_same_outputs(before, result.model)


def test_scalar_that_raises_no_rank_may_stand_between_and_a_row_may_not() -> None:
    text = "g (float[2,3,4] x) => (float[6,4] y) { a = Reshape(x, flat) b = Add(k, a) y = Reshape(b, pair) }"
    scalar = zoo.model(text, k=np.float32(2), flat=INTEGERS["flat"], pair=INTEGERS["pair"])
    row = zoo.model(text, k=zoo.normal(24), flat=INTEGERS["flat"], pair=INTEGERS["pair"])
    assert ops(MergeViews()(scalar).model) == ["Add", "Reshape"]
    assert_same_outputs(scalar, MergeViews()(scalar).model)
    assert MergeViews()(row).changes == ()


@given(
    source=st.lists(st.integers(0, 4), min_size=1, max_size=4),
    order=st.permutations(range(4)),
    has_rest=st.booleans(),
    hidden=st.lists(st.booleans(), min_size=4, max_size=4),
)
def test_target_gives_the_result_at_the_lengths_it_was_made_for(
    source: list[int], order: list[int], has_rest: bool, hidden: list[bool]
) -> None:
    """Brute force: lengths are hidden behind symbols, and numpy (with 0 as copy) must still find the result."""
    result = [source[axis] for axis in order if axis < len(source)]
    names = [f"s{axis}" if hide else length for axis, (length, hide) in enumerate(zip(source, hidden, strict=False))]
    target = views.target(names, [names[axis] for axis in order if axis < len(source)], has_rest=has_rest)
    if target is None:
        return
    copied = [source[axis] if length == 0 else length for axis, length in enumerate(target)]
    if has_rest and -1 in copied and 0 in copied:
        return  # failed before as well
    assert list(np.zeros(source).reshape(copied).shape) == result
