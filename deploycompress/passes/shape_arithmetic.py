"""Concat(Gather(Shape(x), 0), [-1, 32]) -> (length of axis 0 of x, -1, 32): integer vectors followed by value.

Source: ONNX operators Shape, Gather, Slice, Concat, Where and the arithmetic exporters write around them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes.broadcasting import Dims
from deploycompress.passes.shapes import Shapes

_LONGEST = 16  # elements of a shape


@dataclass(frozen=True)
class Facts:
    """What a walk over the graph has found so far.

    Attributes:
        shapes: Lengths of the axes of each value.
        contents: Elements of integer scalars and vectors that shape arithmetic made.
    """

    shapes: Shapes
    contents: dict[ir.Value, Dims] = field(default_factory=dict)

    def of(self, value: ir.Value | None) -> Dims | None:
        """Length of each axis, or None where the rank or a length has no name yet."""
        lengths = self.shapes.symbolic(value)
        if lengths is None:
            return None
        named = tuple(length for length in lengths if length is not None)
        return named if len(named) == len(lengths) else None

    def elements(self, value: ir.Value | None) -> Dims | None:
        """The integers a value holds, flattened; None where they are not known at all."""
        if value is None or value in self.contents:
            return None if value is None else self.contents[value]
        tensor = g.constant(value)
        if tensor is None or tensor.dtype not in (ir.DataType.INT64, ir.DataType.INT32) or tensor.size > _LONGEST:
            return None
        return tuple(int(element) for element in tensor.numpy().ravel())


def contents(node: ir.Node, found: Facts) -> Dims | None:
    """The integers that `node`, of the standard domain, gives; None where it does no shape arithmetic."""
    inputs = [found.elements(value) for value in node.inputs]
    first = inputs[0] if inputs else None
    match node.op_type:
        case "Shape":
            dims = found.of(node.inputs[0])
            if dims is None:
                return None
            end = node.attributes.get("end")
            return dims[g.int_attribute(node, "start", 0) : len(dims) if end is None else end.as_int()]
        case "Identity" | "Unsqueeze" | "Squeeze" | "Reshape":
            return first
        case "Cast" if g.int_attribute(node, "to", 0) in (ir.DataType.INT64, ir.DataType.INT32):
            return first
        case "Concat" if all(part is not None for part in inputs):
            return tuple(element for part in inputs if part is not None for element in part)
        case "Gather" if first is not None and (picked := inputs[1]) is not None:
            in_range = all(isinstance(i, int) and -len(first) <= i < len(first) for i in picked)
            return tuple(first[i] for i in picked if isinstance(i, int)) if in_range else None
        case "Slice" if first is not None and all(part is not None and len(part) == 1 for part in inputs[1:]):
            bounds = [part[0] for part in inputs[1:] if part is not None]
            whole = [bound for bound in bounds if isinstance(bound, int)]
            return first[whole[0] : whole[1]] if len(whole) == len(bounds) and whole[3:] in ([], [1]) else None
        case "Equal" if first is not None and set(inputs[1] or (0,)) == {-1} and -1 not in first:
            return (0,) * len(first)
        case "Where" if first is not None and not any(first):
            return inputs[2]
        case "Add" | "Sub" | "Mul" | "Div" if first is not None and (second := inputs[1]) is not None:
            return _arithmetic(node.op_type, first, second)
    return None


def _arithmetic(op_type: str, a: Dims, b: Dims) -> Dims | None:
    if len(a) != 1 or len(b) != 1:
        return None
    x, y = a[0], b[0]
    if isinstance(x, int) and isinstance(y, int):
        if op_type == "Div":
            return (int(x / y),) if y else None
        return (x + y if op_type == "Add" else x - y if op_type == "Sub" else x * y,)
    neutral = {"Add": (0,), "Sub": (0,), "Mul": (1,), "Div": (1,)}[op_type]
    return a if b == neutral else b if a == neutral and op_type in ("Add", "Mul") else None
