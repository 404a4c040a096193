"""The branch that is always taken stands in place of its If; nothing that a caller or a body reads is lost."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes.inline_branches import InlineBranches
from tests import zoo
from tests.passes.running import assert_same_outputs, feed, outputs


def ops(model: ir.Model) -> list[str]:
    return [node.op_type for node in g.nodes(model)]


def test_branches_inside_branches_go_and_keep_their_weights_and_captures() -> None:
    before = zoo.decided_branches()
    result = InlineBranches()(before)
    assert ops(result.model) == ["Relu", "Add", "Exp", "Sqrt", "Neg"]
    assert set(result.model.graph.initializers) == {"own"}
    assert [value.name for value in result.model.graph.outputs] == ["y", "z"]
    assert_same_outputs(before, result.model)


def test_condition_that_a_caller_gives_stays() -> None:
    assert InlineBranches()(zoo.if_captures()).changes == ()


def test_names_used_in_both_branches_are_refused() -> None:
    model = zoo.model(
        "g (float[4] x) => (float[4] y) { h = Relu(x) k = If(yes) <then_branch = t () => (float[4] a) { h = Neg(x)"
        " a = Abs(h) }, else_branch = e () => (float[4] b) { b = Exp(x) }> y = Add(h, k) }",
        yes=np.bool_(True),
    )
    result = InlineBranches()(model)
    assert [str(r) for r in result.refusals] == ["k: its names are used in other scopes too"]


def test_value_that_would_become_two_graph_outputs_is_refused() -> None:
    model = zoo.model(
        "g (float[4] x) => (float[4] y, float[4] z) { y, z = If(yes) <then_branch = t () => (float[4] a, float[4] a)"
        " { a = Abs(x) }, else_branch = e () => (float[4] b, float[4] c) { b = Exp(x) c = Neg(x) }> }",
        yes=np.bool_(True),
    )
    result = InlineBranches()(model)
    assert "one value twice" in result.refusals[0].reason


def test_what_only_the_other_branch_read_is_dead_afterwards() -> None:
    result = InlineBranches()(zoo.decided_branches())
    relu = next(iter(result.model.graph)).outputs[0]
    assert sorted(use.node.op_type for use in relu.uses()) == ["Add", "Sqrt"]


def decided(result: str, after: str) -> ir.Model:
    """k = If(True), whose branch hands on an initializer."""
    return zoo.model(
        f"g (float[N] x) => (float[N] {result}) {{ k = If(yes) <then_branch = t () => (float[?] a)"
        " <float[4] a = {1.0, 2.0, 3.0, 4.0}> { }, else_branch = e () => (float[?] b) { b = Exp(x) }>"
        f" {after} }}",
        yes=np.bool_(True),
    )


def test_initializer_that_a_branch_hands_on_is_no_graph_output() -> None:
    result = InlineBranches()(decided("k", ""))
    assert [r.reason for r in result.refusals] == [
        "its branch hands an initializer, or one value twice, to a graph output"
    ]
    before = decided("y", "y = Add(k, x)")
    after = InlineBranches()(before).model
    assert ops(after) == ["Add"]
    assert_same_outputs(before, after, free=4)


def test_value_that_a_branch_gives_twice_may_be_read_twice() -> None:
    before = zoo.model(
        "g (float[4] x) => (float[4] y) { k, m = If(yes) <then_branch = t () => (float[4] a, float[4] a)"
        " { a = Abs(x) }, else_branch = e () => (float[4] b, float[4] c) { b = Exp(x) c = Neg(x) }> y = Add(k, m) }",
        yes=np.bool_(True),
    )
    after = InlineBranches()(before).model
    assert ops(after) == ["Abs", "Add"]
    inputs = feed(before)  # the runtime takes no body that gives one value twice
    np.testing.assert_array_equal(outputs(after, inputs)["y"], 2 * np.abs(inputs["x"]))


def test_graph_output_keeps_the_shape_of_the_signature() -> None:
    before = zoo.model(
        "g (float[N,4] x) => (float[N,4] y) { y = If(yes) <then_branch = t () => (float[?,?] a) { a = Abs(x) },"
        " else_branch = e () => (float[?,?] b) { b = Exp(x) }> }",
        yes=np.bool_(True),
    )
    after = InlineBranches()(before).model
    assert [str(value.shape) for value in after.graph.outputs] == ["[N,4]"]
    assert_same_outputs(before, after)
