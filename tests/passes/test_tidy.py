"""Dead code, unused imports and functions, equal weights, equal expressions, names used twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from deploycompress.passes import graph as g
from deploycompress.passes.common_subexpressions import ShareSubexpressions
from deploycompress.passes.dead_code import RemoveDeadCode
from deploycompress.passes.share_initializers import ShareInitializers
from deploycompress.passes.strip_unused import StripUnused
from deploycompress.passes.unique_names import UniqueNames
from tests import zoo
from tests.passes.running import assert_same_outputs


def test_dead_nodes_and_the_weights_only_they_read_go() -> None:
    before = zoo.duplicates()
    result = RemoveDeadCode()(before)
    assert {c.where for c in result.changes} == {"nothing", "never", "unread"}
    assert "unread" not in result.model.graph.initializers


def test_unused_graph_input_stays() -> None:
    before = zoo.model("g (float[4] x, float[4] ignored) => (float[4] y) { y = Abs(x) }")
    assert RemoveDeadCode()(before).changes == ()


def test_initializer_of_a_body_that_nothing_reads_goes() -> None:
    model = zoo.if_captures()
    body = next(n for n in model.graph if n.op_type == "If").attributes["then_branch"].as_graph()
    body.register_initializer(ir.Value(name="loose", const_value=ir.tensor(np.zeros(3, np.float32), name="loose")))
    assert [c.where for c in RemoveDeadCode()(model).changes] == ["loose"]


def test_value_only_a_body_reads_is_not_dead() -> None:
    before = zoo.if_captures()
    assert RemoveDeadCode()(before).changes == ()


def test_what_only_a_dead_branch_read_goes_with_it() -> None:
    model = zoo.model(
        "g (float[2,4] x, bool flag) => (float[2,4] y) { h = MatMul(x, w) n = If(flag) <then_branch = t () =>"
        " (float[2,4] a) { a = Abs(h) }, else_branch = e () => (float[2,4] b) { b = Neg(x) }> y = Relu(x) }",
        w=zoo.normal(4, 4),
    )
    assert {c.where for c in RemoveDeadCode()(model).changes} >= {"n", "h", "w"}


def test_unused_imports_and_functions_go_and_the_standard_one_stays() -> None:
    result = StripUnused()(zoo.functions())
    assert {c.where for c in result.changes} == {"unused", "com.microsoft"}
    assert dict(result.model.opset_imports) == {"": 17, "local": 1}


def test_import_that_only_a_body_uses_stays() -> None:
    model = ir.from_onnx_text(
        '<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>\n'
        "g (float[4] x, bool flag) => (float[4] y) { y = If(flag) <"
        "then_branch = t () => (float[4] a) { a = com.microsoft.Gelu(x) },"
        "else_branch = e () => (float[4] b) { b = Abs(x) }> }"
    )
    assert StripUnused()(model).changes == ()


def test_standard_domain_spelt_out_is_not_taken_for_unused() -> None:
    model = zoo.model("g (float[4] x) => (float[4] y) { y = Abs(x) }")
    model.graph.opset_imports["ai.onnx"] = model.graph.opset_imports.pop("")
    assert StripUnused()(model).changes == ()


def test_equal_weights_are_stored_once() -> None:
    before = zoo.duplicates()
    result = ShareInitializers()(before)
    assert [c.where for c in result.changes] == ["u"]
    assert_same_outputs(before, result.model)


def test_equal_weights_on_disk_and_in_memory_are_stored_once_and_none_is_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = {"u": zoo.normal(32, 32), "v": zoo.normal(32, 32), "w": zoo.normal(32, 32, seed=1)}
    model = zoo.model(
        "g (float[32] x) => (float[32] y) { a = MatMul(u, x) b = MatMul(v, a) c = MatMul(w, b) y = MatMul(m, c) }",
        m=weights["u"].copy(),
        **weights,
    )
    path = tmp_path / "a.onnx"
    in_memory = model.graph.initializers["m"].const_value
    ir.save(model, path, external_data="a.data", size_threshold_bytes=0)
    loaded = ir.load(path)
    loaded.graph.initializers["m"].const_value = in_memory
    assert isinstance(loaded.graph.initializers["u"].const_value, ir.ExternalTensor)
    monkeypatch.setattr(ir.ExternalTensor, "numpy", lambda self: pytest.fail(f"{self.name} was mapped"))
    assert [change.where for change in ShareInitializers()(loaded).changes] == ["u", "v"]  # m comes first


def test_weights_equal_in_bytes_but_not_in_type_or_shape_stay_apart() -> None:
    model = zoo.model(
        "g (float[4] x) => (float[4] y, int64[1] n) { a = Add(x, f) b = Add(a, m) n = Shape(i) y = Reshape(b, s) }",
        f=np.zeros(4, np.float32),
        m=np.zeros((4, 1), np.float32)[:, 0:1].reshape(1, 4),
        i=np.zeros(4, np.int32),
        s=np.asarray([4], np.int64),
    )
    assert ShareInitializers()(model).changes == ()


def test_body_reads_the_equal_weight_of_the_outer_graph() -> None:
    model = zoo.if_folds()
    weight = model.graph.initializers["s"].const_value.numpy()
    body = next(n for n in model.graph if n.op_type == "If").attributes["else_branch"].as_graph()
    twin = ir.Value(name="twin", const_value=ir.tensor(weight.copy(), name="twin"), shape=ir.Shape(weight.shape))
    twin.type = ir.TensorType(ir.DataType.FLOAT)
    body.register_initializer(twin)
    next(n for n in body if n.op_type == "Mul").replace_input_with(1, twin)
    result = ShareInitializers()(model)
    assert [str(c.where) for c in result.changes] == ["twin"]
    for seed in range(4):
        assert_same_outputs(model, result.model, seed=seed)


def test_equal_weight_that_is_a_graph_output_stays() -> None:
    model = zoo.model(
        "g (float[4] x) => (float[4] y, float[4] w) { a = Add(x, u) y = Add(a, w) }", u=zoo.normal(4), w=zoo.normal(4)
    )
    result = ShareInitializers()(model)
    assert [str(r) for r in result.refusals] == ["w: equal to u, but it is a graph output"]


def test_equal_expressions_are_computed_once_and_cascade() -> None:
    before = ShareInitializers()(zoo.duplicates()).model
    result = ShareSubexpressions()(before)
    assert {c.where for c in result.changes} == {"b", "d", "r"}
    assert [node.op_type for node in result.model.graph] == ["MatMul", "Relu", "Add", "Neg", "Add"]
    assert_same_outputs(before, result.model)


def test_random_operators_are_drawn_apart() -> None:
    model = zoo.model(
        "g (float[4] x) => (float[4] y) { a = RandomUniformLike(x) b = RandomUniformLike(x) y = Sub(a, b) }"
    )
    assert ShareSubexpressions()(model).changes == ()


def test_same_operator_with_another_attribute_stays() -> None:
    model = zoo.model(
        "g (float[4,4] x) => (float[4,4] y) { a = Softmax<axis=0>(x) b = Softmax<axis=1>(x) y = Sub(a, b) }"
    )
    assert ShareSubexpressions()(model).changes == ()


def test_node_whose_second_output_is_in_use_is_not_merged_into_one_without_it() -> None:
    model = zoo.model(
        "g (float[1,1,4,4] x) => (float[1,1,3,3] y, int64[1,1,3,3] n) {"
        " a = MaxPool<kernel_shape=[2,2]>(x) b, i = MaxPool<kernel_shape=[2,2]>(x) y = Add(a, b) n = Neg(i) }"
    )
    assert ShareSubexpressions()(model).changes == ()


def test_names_that_two_bodies_share_become_unique_and_outputs_stay() -> None:
    before = zoo.shadowed()
    result = UniqueNames()(before)
    names = [v.name for v in dict.fromkeys(g.values(result.model)) if v.name]
    assert len(names) == len(set(names))
    for seed in range(4):
        assert_same_outputs(before, result.model, seed=seed)


def test_model_with_unique_names_is_handed_back_as_it_is() -> None:
    model = zoo.conv_affine()
    assert UniqueNames()(model).model is model
