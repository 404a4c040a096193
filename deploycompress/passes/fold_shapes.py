"""Shape(x), Size(x), Gather(Shape(x), i) ==> integers, where the axes concerned are certain.

Source: ONNX operators Shape (opset 15: start, end), Size, Gather.
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
    if g.is_op(node, "Gather") and node.inputs[0] is not None and g.int_attribute(node, "axis", 0) == 0:
        producer = node.inputs[0].producer()
        index = g.array(g.input_at(node, 1))
        if producer is None or not g.is_op(producer, "Shape") or index is None:
            return None
        dims = _slice(producer, shapes)
        if dims is None or any(not -len(dims) <= int(i) < len(dims) for i in index.ravel()):
            return None
        picked = [dims[int(i)] for i in index.ravel()]
        return None if None in picked else np.asarray(picked, np.int64).reshape(index.shape)
    return None


def _slice(node: ir.Node, shapes: Shapes) -> tuple[int | None, ...] | None:
    """What a Shape node gives: one int or None for each axis between its `start` and `end`."""
    dims = shapes.of(node.inputs[0])
    if dims is None:
        return None
    end = node.attributes.get("end")
    return dims[g.int_attribute(node, "start", 0) : len(dims) if end is None else end.as_int()]
