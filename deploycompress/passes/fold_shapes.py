"""Shape(x), Size(x), Gather(Shape(x), i), Slice(Shape(x), i, j) ==> integers, where the axes concerned are certain.

Source: ONNX operators Shape (opset 15: start, end), Size, Gather, Slice (opset 10: bounds as inputs).
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes.shapes import Shapes


def known_dimensions(node: ir.Node, shapes: Shapes) -> np.ndarray | None:
    """The int64 value of a shape question whose answer is certain, else None."""
    if g.is_op(node, "Shape"):
        dims = _slice(node, shapes)
        return None if dims is None or None in dims else np.asarray(dims, np.int64)
    if g.is_op(node, "Size"):
        static = shapes.static(node.inputs[0])
        return None if static is None else np.asarray(np.prod(static, dtype=np.int64))
    if not g.is_op(node, "Gather", "Slice") or node.inputs[0] is None or g.int_attribute(node, "axis", 0) != 0:
        return None
    producer = node.inputs[0].producer()
    dims = _slice(producer, shapes) if producer is not None and g.is_op(producer, "Shape") else None
    if dims is None:
        return None
    return _gathered(node, dims) if node.op_type == "Gather" else _sliced(node, dims)


def _gathered(node: ir.Node, dims: tuple[int | None, ...]) -> np.ndarray | None:
    index = g.array(g.input_at(node, 1))
    if index is None or any(not -len(dims) <= int(i) < len(dims) for i in index.ravel()):
        return None
    picked = [dims[int(i)] for i in index.ravel()]
    return None if None in picked else np.asarray(picked, np.int64).reshape(index.shape)


def _sliced(node: ir.Node, dims: tuple[int | None, ...]) -> np.ndarray | None:
    bounds = [g.array(value) for value in node.inputs[1:]]
    known = [int(bound[0]) for bound in bounds if bound is not None and bound.size == 1]
    if len(known) < 2 or len(known) != len(bounds) or known[3:] not in ([], [1]):
        return None
    picked = dims[known[0] : known[1]]
    return None if None in picked else np.asarray(picked, np.int64)


def _slice(node: ir.Node, shapes: Shapes) -> tuple[int | None, ...] | None:
    """What a Shape node gives: one int or None for each axis between its `start` and `end`."""
    dims = shapes.of(node.inputs[0])
    if dims is None:
        return None
    end = node.attributes.get("end")
    return dims[g.int_attribute(node, "start", 0) : len(dims) if end is None else end.as_int()]
