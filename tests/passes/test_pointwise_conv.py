"""Linear layers of a channels-last image become 1x1 convolutions of the channels-first one."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from deploycompress.passes.pointwise_conv import MatMulToPointwiseConv
from tests import zoo
from tests.passes.running import assert_same_outputs, checks

TO_LAST, TO_FIRST = "Transpose<perm=[0,2,3,1]>", "Transpose<perm=[0,3,1,2]>"
WEIGHTS = {
    "w": zoo.normal(3, 5),
    "u": zoo.normal(5, 4),
    "b": zoo.normal(5),
    "deep": zoo.normal(1, 1, 1, 5),
    "one": np.float32(0.5),
    "rows": zoo.normal(2, 1, 1),
}


def built(text: str, result: str = "float[A,B,C,D] y", image: str = "N,2,6,3", **weights: np.ndarray) -> ir.Model:
    """A channels-last image x, a channels-first one z."""
    words = text.replace("(", " ").replace(")", " ").replace(",", " ").split()
    used = {name: value for name, value in (WEIGHTS | weights).items() if name in words}
    return zoo.model(f"g (float[{image}] x, float[N,3,2,6] z) => ({result}) {{ {text} }}", **used)


def operators(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"h = MatMul(x, w) y = {TO_FIRST}(h)", ["Transpose", "Conv"]),
        (f"h = MatMul(x, w) a = Add(h, b) y = {TO_FIRST}(a)", ["Transpose", "Conv"]),
        (f"h = MatMul(x, w) a = Add(deep, h) y = {TO_FIRST}(a)", ["Transpose", "Conv"]),
        (f"h = MatMul(x, w) a = Add(h, one) y = {TO_FIRST}(a)", ["Transpose", "Conv"]),
        (f"h = MatMul(x, w) a = Add(h, rows) y = {TO_FIRST}(a)", ["Transpose", "Conv", "Add"]),
        (
            f"h = MatMul(x, w) a = Add(h, b) r = Relu(a) k = MatMul(r, u) y = {TO_FIRST}(k)",
            ["Transpose", "Conv", "Relu", "Conv"],
        ),
        (
            f"h = MatMul(x, w) s = Sigmoid(h) m = Mul(h, s) k = MatMul(m, u) y = {TO_FIRST}(k)",
            ["Transpose", "Conv", "Sigmoid", "Mul", "Conv"],
        ),
        (
            f"t = {TO_LAST}(z) h = MatMul(t, w) a = Mul(b, h) o = {TO_FIRST}(a) y = Neg(o)",
            ["Conv", "Mul", "Neg"],
        ),
    ],
)
def test_layers_before_a_transpose_become_convolutions(text: str, expected: list[str]) -> None:
    before = built(text)
    after = MatMulToPointwiseConv()(before).model
    assert operators(after) == expected
    for free in (1, 2):
        assert_same_outputs(before, after, free=free)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        (f"h = MatMul(x, w) r = Relu(h) y = {TO_FIRST}(r)", "float[A,B,C,D] y, float[A,C,D,B] h"),  # read elsewhere
        (f"h = MatMul(x, w) r = Relu(h) y = {TO_FIRST}(r) o = Neg(h)", "float[A,B,C,D] y, float[A,C,D,B] o"),
        (f"r = Relu(x) y = {TO_FIRST}(r)", "float[A,B,C,D] y"),  # no layer
        (f"h = MatMul(x, w) y = {TO_LAST}(h)", "float[A,B,C,D] y"),  # another order
        (f"h = MatMul(x, w) k = MatMul(x, w) a = Add(h, k) y = {TO_FIRST}(a)", "float[A,B,C,D] y"),  # shared weight
    ],
)
def test_what_is_not_such_a_layer_stays(text: str, result: str) -> None:
    assert MatMulToPointwiseConv()(built(text, result)).changes == ()


def test_image_of_unknown_rank_stays() -> None:
    before = zoo.model(
        f"g (float[N,2,6,3] x, int64[K] shape) => (float[A,B,C,D] y) {{ r = Reshape(x, shape) h = MatMul(r, w)"
        f" y = {TO_FIRST}(h) }}",
        w=WEIGHTS["w"],
    )
    assert MatMulToPointwiseConv()(before).changes == ()


def test_layers_that_depend_on_two_images_are_refused() -> None:
    before = built(
        f"t = {TO_LAST}(z) h = MatMul(t, w) k = MatMul(x, v) a = Add(h, k) y = {TO_FIRST}(a)", v=zoo.normal(3, 5)
    )
    result = MatMulToPointwiseConv()(before)
    assert result.changes == ()
    assert [r.reason for r in result.refusals] == ["the layers before it depend on 2 values"]


def test_constant_image_beside_the_layer_stays() -> None:
    """Its axes would have to be moved too."""
    added = f"h = MatMul(photo, v) k = MatMul(x, w) a = Add(h, k) y = {TO_FIRST}(a)"
    late = f"r = Relu(sum) s = Softmax(x) k = MatMul(s, w) a = Add(r, k) y = {TO_FIRST}(a)"
    images = {"photo": zoo.normal(1, 2, 6, 3), "v": zoo.normal(3, 5), "sum": zoo.normal(1, 2, 6, 5)}
    for text in (added, late):
        before = built(text, **images)
        after = MatMulToPointwiseConv()(before).model
        assert checks(after) is None
        assert_same_outputs(before, after)


def test_graph_output_keeps_its_shape_and_the_image_gets_a_name_of_its_own() -> None:
    before = built(
        f"y_first = Neg(x) h = MatMul(x, w) r = Relu(h) y = {TO_FIRST}(r) o = Neg(y_first)",
        "float[N,5,2,6] y, float[N,2,6,3] o",
    )
    result = MatMulToPointwiseConv()(before)
    assert len(result.changes) == 1
    assert checks(result.model) is None
    assert [str(value.shape) for value in result.model.graph.outputs] == ["[N,5,2,6]", "[N,2,6,3]"]
    assert_same_outputs(before, result.model)


def test_axis_of_an_old_broadcast_stays() -> None:
    before = zoo.model(
        f"g (float[1,5,6,3] x) => (float[1,5,5,6] y) {{ h = MatMul(x, w) a = Add<broadcast=1, axis=1>(h, b)"
        f" y = {TO_FIRST}(a) }}",
        opset=6,
        w=WEIGHTS["w"],
        b=WEIGHTS["b"],
    )
    assert MatMulToPointwiseConv()(before).changes == ()


def test_doubles_stay() -> None:
    """ONNX Runtime has no Conv of doubles."""
    before = zoo.model(
        f"g (double[1,5,6,3] x) => (double[1,5,5,6] y) {{ h = MatMul(x, w) y = {TO_FIRST}(h) }}",
        w=zoo.normal(3, 5, dtype=np.float64),
    )
    assert MatMulToPointwiseConv()(before).changes == ()


def test_what_makes_an_image_of_fewer_axes_stays_before_the_transpose() -> None:
    before = zoo.model(
        f"g (float[2,6,3] x) => (float[A,B,C,D] y) {{ a = Add(x, photo) h = MatMul(a, w) y = {TO_FIRST}(h) }}",
        photo=zoo.normal(4, 2, 6, 3),
        w=WEIGHTS["w"],
    )
    after = MatMulToPointwiseConv()(before).model
    assert operators(after) == ["Add", "Transpose", "Conv"]
    assert_same_outputs(before, after)


def test_bias_of_as_many_rows_as_channels_is_added_to_the_rows() -> None:
    before = built(f"h = MatMul(x, w) a = Add(h, rows) y = {TO_FIRST}(a)", image="N,5,6,3", rows=zoo.normal(5, 1, 1))
    after = MatMulToPointwiseConv()(before).model
    assert operators(after) == ["Transpose", "Conv", "Add"]
    assert_same_outputs(before, after)


def test_matrices_for_each_image_stay() -> None:
    before = built(f"h = MatMul(x, many) y = {TO_FIRST}(h)", many=zoo.normal(1, 2, 3, 5))
    assert MatMulToPointwiseConv()(before).changes == ()
