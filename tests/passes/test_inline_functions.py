"""Model-local functions are replaced by their bodies, unless that would change what an operator means."""

from __future__ import annotations

import onnx_ir as ir

from deploycompress.passes.inline_functions import InlineFunctions
from tests import zoo
from tests.passes.running import assert_same_outputs


def test_calls_and_their_parameters_are_inlined() -> None:
    before = zoo.functions()
    result = InlineFunctions()(before)
    assert [node.op_type for node in result.model.graph] == ["Add", "Constant", "Add"]
    assert_same_outputs(before, result.model)


def test_function_for_another_operator_set_version_is_refused() -> None:
    model = ir.from_onnx_text(
        '<ir_version: 8, opset_import: ["" : 17, "local" : 1]>\n'
        "g (float[4] x) => (float[4] y) { y = local.f(x) }\n"
        '<domain: "local", opset_import: ["" : 13]> f (a) => (c) { c = Neg(a) }\n'
    )
    result = InlineFunctions()(model)
    assert result.model is model
    assert [str(r) for r in result.refusals] == [
        "f: the function is written for operator set ai.onnx 13, the model uses 17"
    ]


def test_call_inside_a_branch_is_inlined() -> None:
    before = ir.from_onnx_text(
        '<ir_version: 8, opset_import: ["" : 17, "local" : 1]>\n'
        "g (float[4] x, bool flag) => (float[4] y) { y = If(flag) <"
        "then_branch = t () => (float[4] a) { a = local.f(x) }, else_branch = e () => (float[4] b) { b = Abs(x) }> }\n"
        '<domain: "local", opset_import: ["" : 17]> f (a) => (c) { h = Neg(a) c = Exp(h) }\n'
    )
    result = InlineFunctions()(before)
    assert not result.model.functions
    for seed in range(4):
        assert_same_outputs(before, result.model, seed=seed)
