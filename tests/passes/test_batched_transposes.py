"""The transposed keys of the dynamo exporter become one Transpose."""

from __future__ import annotations

import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes.batched_transposes import BatchedTransposes
from tests import zoo
from tests.passes.running import same_outputs_on


def test_keys_of_an_export_become_one_transpose() -> None:
    before = zoo.sdpa_keys()
    after = BatchedTransposes()(before).model
    moves = [node for node in after.graph if g.is_op(node, "Transpose", "Reshape")]
    assert [(node.op_type, g.ints_attribute(node, "perm")) for node in moves] == [
        ("Reshape", None),
        ("Transpose", [0, 2, 3, 1]),
    ]
    for batch, length in ((1, 5), (3, 4), (3, 1)):
        same_outputs_on(before, after, {"x": zoo.normal(batch, length, 8)})


def test_transpose_that_others_read_stays_for_them() -> None:
    before = zoo.sdpa_keys()
    h = next(value for node in before.graph for value in node.outputs if value.name == "h")
    h.type, h.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape([None, 2, None, 4])
    before.graph.outputs.append(h)
    after = BatchedTransposes()(before).model
    assert [node.op_type for node in after.graph].count("Transpose") == 2
    same_outputs_on(before, after, {"x": zoo.normal(3, 5, 8)})


def test_axes_that_do_not_come_back_as_they_were_are_left_alone() -> None:
    """The heads come back in front of the batch: the same lengths where both are two, another order everywhere."""
    before = zoo.sdpa_keys(last="Concat<axis=0>(two, b, four, s)")
    assert BatchedTransposes()(before).model is before
