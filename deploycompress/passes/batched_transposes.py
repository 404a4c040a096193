"""Reshape [B,H,S,D] -> [B*H,S,D] -> Transpose(0,2,1) -> Reshape [B,H,D,S] ==> Transpose(0,1,3,2).

    Transpose(p) -> Transpose(q) ==> Transpose(p[q])

The dynamo exporter writes the transposed keys of scaled_dot_product_attention with the batch and the heads in one axis.
Source: ONNX operators Reshape and Transpose; the equality of lengths is that of `symbolic`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes.base import Findings, PassResult
from deploycompress.passes.shapes import Shapes
from deploycompress.passes.symbolic import symbolic

_SWAP = [0, 2, 1]


@dataclass(frozen=True)
class BatchedTransposes:
    """Makes one Transpose of a transposition in which leading axes were taken together."""

    exact: ClassVar[bool] = True

    def __call__(self, model: ir.Model) -> PassResult:
        """Rewrites a copy of `model`."""
        found = Findings()
        if not any(_is_swap(node) for node in model.graph):
            return found.result(model, model)
        after = model.clone()
        shapes = symbolic(after)
        for node in list(after.graph):
            source = _untangled(node, shapes)
            if source is not None:
                _transpose(node, source)
                found.changed(g.label(node), "Reshape, Transpose, Reshape became one Transpose")
        return found.result(model, after)


def _is_swap(node: ir.Node) -> bool:
    return g.is_op(node, "Transpose") and g.ints_attribute(node, "perm") == _SWAP


def _untangled(last: ir.Node, shapes: Shapes) -> ir.Value | None:
    """The value of four axes whose two last ones `last` gives swapped, or None."""
    swap = last.inputs[0].producer() if g.is_op(last, "Reshape") and last.inputs[0] is not None else None
    if swap is None or not _is_swap(swap) or swap.inputs[0] is None:
        return None
    first = swap.inputs[0].producer()
    if first is None or not g.is_op(first, "Reshape"):
        return None
    before, middle, result = (shapes.symbolic(v) for v in (first.inputs[0], first.outputs[0], last.outputs[0]))
    if before is None or middle is None or result is None or not len(before) == len(result) == 4:
        return None
    same = middle[1:] == before[2:] and result == (*before[:2], before[3], before[2])
    return first.inputs[0] if same and None not in before else None


def _transpose(node: ir.Node, source: ir.Value) -> None:
    """Turns `node` into a Transpose of `source`; one that made `source` for it alone is taken along."""
    unread = list(node.inputs)
    order, producer = [0, 1, 3, 2], source.producer()
    inner = producer.inputs[0] if producer is not None and g.is_op(producer, "Transpose") else None
    if producer is not None and inner is not None:
        before = g.ints_attribute(producer, "perm") or [3, 2, 1, 0]
        source, order = inner, [before[axis] for axis in order]
    node.resize_inputs(1)
    node.replace_input_with(0, source)
    node.op_type = "Transpose"
    node.attributes.clear()
    node.attributes["perm"] = ir.AttrInt64s("perm", order)
    g.drop_unread(unread)
