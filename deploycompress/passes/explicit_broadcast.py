"""Attention(q, k, v, mask [B,1,1,S]) ==> Attention(q, k, v, Expand(mask, [B,1,Q,S])); RotaryEmbedding likewise.

The standard lets the mask broadcast along the queries, and exporters make use of it; ONNX Runtime's CPU kernel (1.31)
stops with "inconsistent q_sequence_length". The caches of RotaryEmbedding [1, S, d/2], shared by the batch, stop it
with "expected to have the same shape". Such a model loads and fails on most feeds, so it is mended before anything is
compared: it is no step of a pipeline.
Source: ONNX operators Attention and RotaryEmbedding (opset 23), "Broadcasting in ONNX".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes.base import Findings, PassResult
from deploycompress.passes.shapes import Shapes, infer


@dataclass(frozen=True)
class ExplicitBroadcast:
    """Writes out broadcasts that the kernels of Attention and RotaryEmbedding do not do."""

    exact: ClassVar[bool] = True

    def __call__(self, model: ir.Model) -> PassResult:
        """Rewrites a copy of `model`."""
        found = Findings()
        if not g.contains(model, "Attention", "RotaryEmbedding"):
            return found.result(model, model)
        after = model.clone()
        shapes, taken = infer(after), g.names(after)
        for node in g.nodes(after):
            if g.is_op(node, "Attention") and g.input_at(node, 3) is not None:
                rank, query = shapes.rank(node.inputs[3]), 2 if shapes.rank(node.inputs[0]) == 4 else 1
                if rank is not None and rank >= 2:
                    _widen(node, 3, rank - 2, query, shapes, taken, found)
            elif g.is_op(node, "RotaryEmbedding") and g.input_at(node, 3) is None:
                for index in (1, 2):
                    _widen(node, index, 0, 0, shapes, taken, found)
        return found.result(model, after)


def _widen(node: ir.Node, index: int, axis: int, like: int, shapes: Shapes, taken: set[str], found: Findings) -> None:
    """Gives axis `axis` of input `index`, where it is 1, the length of axis `like` of the first input."""
    first, value, graph = node.inputs[0], node.inputs[index], node.graph
    lengths, wanted = shapes.of(value), shapes.of(first)
    if first is None or value is None or lengths is None or wanted is None or not isinstance(graph, ir.Graph):
        return
    if lengths[axis] != 1 or wanted[like] == 1:
        return
    name = g.label(node)
    bounds = [ir.AttrInt64("start", like), ir.AttrInt64("end", like + 1)]
    length = _node("Shape", [first], bounds, f"{name}_length", taken)
    ones = [
        g.new_initializer(graph, f"{name}_ones", np.ones(count, np.int64), taken)
        for count in (axis, len(lengths) - axis - 1)
    ]
    parts = [ones[0], length.outputs[0], ones[1]]
    target = _node("Concat", parts, [ir.AttrInt64("axis", 0)], f"{name}_target", taken)
    wide = _node("Expand", [value, target.outputs[0]], [], f"{name}_wide", taken)
    wide.outputs[0].type = value.type
    graph.insert_before(node, [length, target, wide])
    node.replace_input_with(index, wide.outputs[0])
    found.changed(name, f"input {index} of {node.op_type} broadcast along axis {axis} by an Expand")


def _node(op_type: str, inputs: list[ir.Value], attributes: list[ir.Attr], name: str, taken: set[str]) -> ir.Node:
    node = ir.Node("", op_type, inputs, attributes, num_outputs=1)
    node.name = node.outputs[0].name = g.claimed(name, taken)
    return node
