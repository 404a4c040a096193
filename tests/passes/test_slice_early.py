"""Where one position is read, the products before it run for that position alone."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from deploycompress.passes.constant_targets import ConstantTargets
from deploycompress.passes.slice_early import SliceEarly
from tests import zoo
from tests.passes.running import outputs, same_outputs_on


def narrowed(model: ir.Model) -> list[str]:
    """Outputs of the products that the pass says it narrowed, sorted."""
    return sorted(change.where for change in SliceEarly()(model).changes)


def feeds(batch: int, sequence: int) -> dict[str, np.ndarray]:
    """Inputs of the encoder; the last two positions of every sequence but the first are masked."""
    mask = np.zeros((batch, 1, 1, sequence), np.float32)
    mask[1:, ..., -2:] = -1e4
    return {"x": zoo.normal(batch, sequence, 8), "mask": mask}


def test_all_of_the_last_layer_but_keys_and_values_runs_for_the_token_that_is_read() -> None:
    before = ConstantTargets(trust_symbols=True)(zoo.encoder()).model
    result = SliceEarly()(before)
    # query, scores, context, output projection, feed-forward up and down; not k (km) and v (vm).
    assert sorted(change.where for change in result.changes) == ["c", "dm", "fm", "om", "qm", "raw"]
    for batch, sequence in ((1, 1), (1, 5), (3, 4), (4, 1)):
        same_outputs_on(before, result.model, feeds(batch, sequence))


def test_the_shapes_of_narrowed_products_have_one_row() -> None:
    after = SliceEarly()(ConstantTargets(trust_symbols=True)(zoo.encoder()).model).model
    rows = zoo.with_outputs(after, "fm", "raw", "km")
    found = {name: value.shape for name, value in outputs(rows, feeds(2, 5)).items()}
    assert found["fm"] == (2, 1, 12)
    assert found["raw"] == (2, 2, 1, 5)
    assert found["km"] == (2, 5, 8)


def test_last_position_is_moved_as_well_and_broadcast_operands_are_read_whole() -> None:
    before = zoo.model(
        "g (float[N,S,4] x, float[N,1,4] row) => (float[N,3] y) { h = MatMul(x, w) s = Add(h, row) t = Mul(s, c)"
        " m = MatMul(t, u) y = Gather<axis=1>(m, last) }",
        w=zoo.normal(4, 4),
        u=zoo.normal(4, 3),
        c=zoo.normal(4),
        last=np.asarray(-1, np.int64),
    )
    result = SliceEarly()(before)
    assert sorted(change.where for change in result.changes) == ["h", "m"]
    assert [n.op_type for n in result.model.graph] == ["Gather", "MatMul", "Add", "Mul", "MatMul", "Gather"]
    same_outputs_on(before, result.model, {"x": zoo.normal(2, 5, 4), "row": zoo.normal(2, 1, 4)})


def test_operand_that_may_be_broadcast_is_read_at_the_position() -> None:
    """S may be 1 where T is not: position 0 of both is right whichever of them is broadcast."""
    before = zoo.model(
        "g (float[S,4] x, float[T,4] z) => (float[4] y) { h = MatMul(x, w) s = Add(h, z) y = Gather(s, first) }",
        w=zoo.normal(4, 4),
        first=np.asarray(0, np.int64),
    )
    after = SliceEarly()(before).model
    assert after is not before
    for s, t in ((1, 5), (5, 1), (3, 3)):
        same_outputs_on(before, after, {"x": zoo.normal(s, 4), "z": zoo.normal(t, 4)})


@pytest.mark.parametrize(
    ("graph", "outs"),
    [
        ("h = MatMul(x, w) y = Gather<axis=1>(h, second)", "float[N,4] y"),
        ("h = MatMul(x, w) a = Gather<axis=1>(h, first) b = Gather<axis=1>(h, last) y = Add(a, b)", "float[N,4] y"),
        ("h = MatMul(x, w) y = Gather<axis=1>(h, first)", "float[N,4] y, float[N,S,4] h"),
        ("h = MatMul(x, w) y = Gather<axis=1>(h, first) z = ReduceSum(h)", "float[N,4] y, float z"),
    ],
    ids=["another position", "two positions", "graph output", "another reader"],
)
def test_more_than_one_position_or_another_reader_keeps_the_products_whole(graph: str, outs: str) -> None:
    before = zoo.model(
        f"g (float[N,S,4] x) => ({outs}) {{ {graph} }}",
        w=zoo.normal(4, 4),
        first=np.asarray(0, np.int64),
        second=np.asarray(1, np.int64),
        last=np.asarray(-1, np.int64),
    )
    assert narrowed(before) == []


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ("c = CumSum(h, one)", "one position is read, but CumSum needs more"),
        ("c = Softmax<axis=1>(h)", "one position is read, but Softmax needs more"),
        ("c = LayerNormalization<axis=1>(h, scale)", "one position is read, but LayerNormalization needs more"),
        ("c = Reshape(h, mixed)", "one position is read, but Reshape needs more"),
    ],
)
def test_operator_that_mixes_positions_is_named(step: str, reason: str) -> None:
    model = zoo.model(
        f"g (float[N,2,4] x) => (float[N,4] y) {{ h = MatMul(x, w) {step} y = Gather<axis=1>(c, first) }}",
        w=zoo.normal(4, 4),
        scale=zoo.normal(2, 4),
        one=np.asarray(1, np.int64),
        first=np.asarray(0, np.int64),
        mixed=np.asarray([-1, 4, 2], np.int64),
    )
    result = SliceEarly()(model)
    assert result.changes == ()
    assert [(refusal.where, refusal.reason) for refusal in result.refusals] == [("c", reason)]


def test_softmax_of_opset_12_mixes_all_axes_behind_its_own() -> None:
    text = (
        "g (float[2,3,4] x) => (float[2,4] y) {{ h = MatMul(x, w) c = Softmax<axis={}>(h) y = Gather<axis=1>(c, i) }}"
    )
    weights = {"w": zoo.normal(4, 4), "i": np.asarray(0, np.int64)}
    assert narrowed(zoo.model(text.format(1), opset=12, **weights)) == []
    assert narrowed(zoo.model(text.format(2), opset=12, **weights)) == ["h"]


def test_batch_axis_of_a_product_is_narrowed_on_both_sides() -> None:
    before = zoo.model(
        "g (float[B,3,4] a, float[C,4,5] b) => (float[3,5] y) { h = MatMul(a, b) y = Gather<axis=0>(h, first) }",
        first=np.asarray(0, np.int64),
    )
    after = SliceEarly()(before).model
    assert [n.op_type for n in after.graph].count("Gather") == 3
    for b, c in ((4, 1), (1, 4), (2, 2)):
        same_outputs_on(before, after, {"a": zoo.normal(b, 3, 4), "b": zoo.normal(c, 4, 5)})
