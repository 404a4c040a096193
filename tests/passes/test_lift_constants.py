"""Constant nodes become initializers where they stand."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from deploycompress.passes.lift_constants import LiftConstants
from tests import zoo
from tests.passes.running import assert_same_outputs


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        ("value_float = 1.5", np.float32(1.5)),
        ("value_floats = [1.5, 2.5]", np.asarray([1.5, 2.5], np.float32)),
        ("value_int = 7", np.int64(7)),
        ("value_ints = [7, -8]", np.asarray([7, -8], np.int64)),
        ("value = int32[2,1] {3, 4}", np.asarray([[3], [4]], np.int32)),
    ],
)
def test_every_dense_spelling_keeps_type_shape_and_value(attribute: str, expected: np.ndarray) -> None:
    before = zoo.model(
        f"g (float[4] x) => (float[4] y, int64[R] s) {{ k = Constant<{attribute}>() s = Shape(k) y = Abs(x) }}"
    )
    lifted = LiftConstants()(before).model.graph.initializers["k"].const_value.numpy()
    assert (lifted.dtype, lifted.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(lifted, expected)


def test_constant_of_a_loop_body_becomes_an_initializer_of_that_body() -> None:
    before = zoo.loop()
    result = LiftConstants()(before)
    body = next(n for n in result.model.graph if n.op_type == "Loop").attributes["body"].as_graph()
    assert list(body.initializers) == ["two"]
    assert not any(n.op_type == "Constant" for n in ir.traversal.RecursiveGraphIterator(result.model.graph))
    assert_same_outputs(before, result.model)


def test_constant_that_is_a_graph_output_is_refused() -> None:
    model = zoo.model("g (float[4] x) => (float[4] y, float k) { k = Constant<value_float = 1.0>() y = Add(x, k) }")
    assert [str(r) for r in LiftConstants()(model).refusals] == ["k: it is a graph output"]


def test_string_constant_is_refused_by_its_attribute() -> None:
    model = zoo.model(
        'g (float[4] x) => (float[4] y, int64[R] s) { k = Constant<value_string = "a">() s = Shape(k) y = Abs(x) }'
    )
    assert [str(r) for r in LiftConstants()(model).refusals] == ["k: attribute value_string has no dense tensor form"]


def test_weights_are_shared_with_the_input_model_not_copied() -> None:
    before = zoo.model("g (float[4] x) => (float[4] y) { k = Constant<value = float[4] {1, 2, 3, 4}>() y = Add(x, k) }")
    tensor = next(n for n in before.graph if n.op_type == "Constant").attributes["value"].as_tensor()
    assert LiftConstants()(before).model.graph.initializers["k"].const_value is tensor
