"""Linear layers on rows: one Gemm with its bias, the axes back where they are wanted."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from deploycompress.passes.rows_to_matrix import RowsToMatrix
from tests import zoo
from tests.passes.running import same_outputs_on
from tests.passes.test_slice_early import feeds


def ops(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


@pytest.mark.parametrize("head", ["float[N,3] y", "float[N,S,8] n"])
def test_every_linear_layer_of_an_encoder_becomes_a_gemm(head: str) -> None:
    before = zoo.encoder() if head.endswith("y") else zoo.encoder(head, "")
    after = RowsToMatrix()(before).model
    assert ops(after).count("Gemm") == 6 + ops(before).count("Gemm")
    assert ops(after).count("MatMul") == 2  # scores and context
    for batch, sequence in ((1, 1), (1, 5), (3, 4), (4, 1)):
        same_outputs_on(before, after, feeds(batch, sequence))


def test_rows_of_a_known_number_need_no_computed_target() -> None:
    before = zoo.model(
        "g (float[N,7,4] x) => (float[N,7,4] y) { m = MatMul(x, w) a = Add(c, m) y = Relu(a) }",
        w=zoo.normal(4, 4),
        c=zoo.normal(4),
    )
    after = RowsToMatrix()(before).model
    assert ops(after) == ["Reshape", "Gemm", "Relu", "Reshape"]
    same_outputs_on(before, after, {"x": zoo.normal(3, 7, 4)})


def test_two_free_lengths_are_put_together_once_from_the_input() -> None:
    before = zoo.model(
        "g (float[N,S,4] x) => (float[N,S,4] y, float[N,S,4] z) { m = MatMul(x, w) y = Add(m, c) l = MatMul(y, w)"
        " z = Add(l, c) }",
        w=zoo.normal(4, 4),
        c=zoo.normal(4),
    )
    after = RowsToMatrix()(before).model
    assert sorted(ops(after)) == ["Concat", "Gemm", "Gemm", "Reshape", "Reshape", "Reshape", "Shape"]
    assert [value.name for value in after.graph.outputs] == ["y", "z"]
    same_outputs_on(before, after, {"x": zoo.normal(3, 5, 4)})


def test_reshape_before_and_after_is_passed_over() -> None:
    """The form GPT-2 is exported in, beside a plain linear layer."""
    before = zoo.model(
        "g (float[N,S,4] x) => (float[N,S,4] y) { r = Reshape(x, rows) k = Gemm(r, w, c) s = Shape(x)"
        " b = Reshape(k, s) t = Tanh(b) m = MatMul(t, w) a = Add(m, c) q = Reshape(a, rows) p = Gemm(q, w, c)"
        " y = Reshape(p, s) }",
        w=zoo.normal(4, 4),
        c=zoo.normal(4),
        rows=np.asarray([-1, 4], np.int64),
    )
    after = RowsToMatrix()(before).model
    assert [op for op in ops(after) if op != "Shape"] == ["Reshape", "Gemm", "Tanh", "Gemm", "Gemm", "Reshape"]
    same_outputs_on(before, after, {"x": zoo.normal(3, 5, 4)})


@pytest.mark.parametrize(
    "graph",
    [
        "m = MatMul(x, w) a = Add(m, c) y = Add(a, position)",  # one row for every sentence
        "m = MatMul(x, w) a = Add(m, c) y = Softmax<axis=1>(a)",
        "m = MatMul(x, w) a = Add(m, c) y = Add(a, z)",  # T may be 1
    ],
    ids=["broadcast", "along the rows", "another length"],
)
def test_what_does_not_work_on_rows_keeps_its_axes(graph: str) -> None:
    before = zoo.model(
        f"g (float[N,S,4] x, float[N,T,4] z) => (float[?,?,4] y) {{ {graph} }}",
        w=zoo.normal(4, 4),
        c=zoo.normal(4),
        position=zoo.normal(1, 5, 4),
    )
    after = RowsToMatrix()(before).model
    assert "Gemm" in ops(after)
    for length in (1, 5):
        same_outputs_on(before, after, {"x": zoo.normal(3, 5, 4), "z": zoo.normal(3, length, 4, seed=1)})


@pytest.mark.parametrize(
    "graph",
    [
        "y = MatMul(x, w)",
        "m = MatMul(x, x2) y = Add(m, c)",
        "m = MatMul(x, w) y = Add(m, x)",
        "m = MatMul(x, w) y = Mul(m, c)",
    ],
    ids=["no bias", "no constant", "no constant bias", "a factor"],
)
def test_product_without_weight_or_bias_is_left_alone(graph: str) -> None:
    before = zoo.model(
        f"g (float[N,S,4] x, float[N,4,4] x2) => (float[N,S,4] y) {{ {graph} }}", w=zoo.normal(4, 4), c=zoo.normal(4)
    )
    result = RowsToMatrix()(before)
    assert result.changes == ()
    assert result.model is before
