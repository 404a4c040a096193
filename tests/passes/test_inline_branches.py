"""The branch that is always taken stands in place of its If; nothing that a caller or a body reads is lost."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes.inline_branches import InlineBranches
from tests import zoo
from tests.passes.running import assert_same_outputs


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
