"""Only what the graph inputs prove counts as known."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from deploycompress.passes import graph as g
from deploycompress.passes.shapes import infer
from tests import zoo
from tests.passes.running import feed, outputs


@pytest.mark.parametrize("name", zoo.MODELS)
def test_every_inferred_length_is_the_one_onnxruntime_produces(name: str) -> None:
    model = zoo.MODELS[name]()
    shapes = infer(model)
    values = [o for node in model.graph for o in node.outputs if o.name]
    wanted = [v for v in values if not v.is_graph_output() and isinstance(v.type, ir.TensorType | None)]
    model.graph.outputs.extend(wanted)
    for free in (1, 3):
        got = outputs(model, feed(model, free))
        for value in values:
            dims = shapes.of(value)
            if dims is None or value.name not in got:
                continue
            actual = np.shape(got[value.name])
            assert len(dims) == len(actual)
            assert all(d is None or d == a for d, a in zip(dims, actual, strict=True))


def test_symbol_proves_nothing() -> None:
    model = zoo.model("g (float[N,4] x) => (float[N,4] y) { y = Abs(x) }")
    assert infer(model).of(model.graph.outputs[0]) == (None, 4)


def test_free_axes_are_followed_by_symbols_of_their_own() -> None:
    model = zoo.model(
        "g (float[N,N,4] x, float[N] z) => (float[?,?,?] y) { t = Transpose<perm=[1,0,2]>(x) y = Relu(t) }"
    )
    shapes = infer(model)
    first, second, third = shapes.symbolic(model.graph.outputs[0])
    assert shapes.symbolic(model.graph.inputs[0]) == (second, first, third)
    assert len({first, second, *shapes.symbolic(model.graph.inputs[1])}) == 3  # one symbol of the file, three lengths
    assert third == 4


def test_default_that_the_caller_may_override_proves_no_shape() -> None:
    model = zoo.model("g (float[6] x) => (float[?,?] y) { y = Reshape(x, s) }", s=np.asarray([2, 3], np.int64))
    assert infer(model).of(model.graph.outputs[0]) == (2, 3)
    model.graph.inputs.append(model.graph.initializers["s"])
    assert infer(model).of(model.graph.outputs[0]) == (None, None)


def test_large_weights_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    model = zoo.model("g (float[N,64] x) => (float[?,?] y) { y = MatMul(x, w) }", w=np.ones((64, 32), np.float32))
    weight = model.graph.initializers["w"].const_value
    monkeypatch.setattr(type(weight), "numpy", lambda self: pytest.fail(f"{self.name} was read"))
    assert infer(model).of(model.graph.outputs[0]) == (None, 32)


def test_shape_claimed_in_the_file_is_ignored_and_the_input_model_keeps_it() -> None:
    model = zoo.model("g (float[N,4] x) => (float[9,9] y) <float[8,8] h> { h = Abs(x) y = Neg(h) }")
    value = next(iter(model.graph)).outputs[0]
    assert infer(model).of(value) == (None, 4)
    assert list(value.shape) == [8, 8]


def test_failure_is_told_and_inputs_stay_known() -> None:
    model = zoo.model("g (float[3,4] x) => (float[3,4] y) { y = Abs(x) }")
    next(iter(model.graph)).domain = "nowhere"
    shapes = infer(model)
    assert "nowhere" in shapes.problem
    assert shapes.static(model.graph.inputs[0]) == (3, 4)


def test_constants_of_the_outer_graph_are_known_in_bodies() -> None:
    model = zoo.view_chains()
    shapes = infer(model)
    assert {n.outputs[0].name: shapes.static(n.outputs[0]) for n in g.nodes(model) if n.outputs[0].name in "fhij"} == {
        "f": (6,),
        "h": (1, 6),
        "i": (1, 1, 6),
        "j": (1, 6),
    }


def test_values_of_bodies_are_inferred_too() -> None:
    model = zoo.if_folds()
    shapes = infer(model)
    assert {shapes.static(n.outputs[0]) for n in g.nodes(model)} == {(1, 4, 5, 5)}
