"""f(x)[.., i, ..] ==> f(x[.., i, ..]): which position of which input one position of the output is made from.

i is the first or the last position, so that an input that is broadcast along the axis (length 1) has it as well, and no
length needs to be known. Source: ONNX operator specifications; "Broadcasting in ONNX".
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes.shapes import Shapes

# fmt: off
_ALONG_NO_AXIS = frozenset({
    "Abs", "Cast", "Clip", "Dropout", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "Identity", "IsNaN",
    "LeakyRelu", "Log", "Mish", "Neg", "Not", "Reciprocal", "Relu", "Sigmoid", "Sign", "Softplus", "Sqrt", "Tanh",
})
# fmt: on
_BROADCASTING = frozenset(("Add", "And", "Div", "Max", "Min", "Mul", "Or", "Pow", "Sub", "Sum", "Where"))


@dataclass(frozen=True)
class Position:
    """The first (0) or last (-1) position of one axis."""

    axis: int
    index: int


Sources = dict[int, Position]


def sources(node: ir.Node, wanted: Position, shapes: Shapes) -> Sources | None:
    """What `wanted` of the output is made from: a position of some inputs, the whole of the others; None if unknown."""
    rank = shapes.rank(node.outputs[0])
    if node.domain not in g.STANDARD_DOMAINS or rank is None or any(o.name and o.uses() for o in node.outputs[1:]):
        return None
    if node.op_type in _ALONG_NO_AXIS:
        return {0: wanted}
    if node.op_type in _BROADCASTING:
        return _aligned(node, range(len(node.inputs)), wanted, rank, shapes)
    rule = _RULES.get(node.op_type)
    return None if rule is None else rule(node, wanted, rank, shapes)


def _aligned(node: ir.Node, inputs: range, wanted: Position, rank: int, shapes: Shapes) -> Sources | None:
    """Axes counted from the back; an input without the axis, or with length 1 there, is read whole."""
    found: Sources = {}
    for index in inputs:
        dims = shapes.symbolic(node.inputs[index])
        if dims is None:
            return None
        axis = wanted.axis - (rank - len(dims))
        if axis >= 0 and dims[axis] != 1:
            found[index] = replace(wanted, axis=axis)
    return found


def _normalized(node: ir.Node, wanted: Position, rank: int, shapes: Shapes) -> Sources | None:
    """LayerNormalization and RMSNormalization work on `axis` and all after it; scale and bias have no axis before."""
    first = g.int_attribute(node, "axis", -1) % rank
    parameters = [shapes.rank(value) for value in node.inputs[1:] if value is not None]
    small = all(count is not None and count <= rank - first for count in parameters)
    return {0: wanted} if wanted.axis < first and small else None


def _softmax(node: ir.Node, wanted: Position, rank: int, shapes: Shapes) -> Sources | None:
    """Along one axis since opset 13; before, along `axis` (1) and all after it."""
    if shapes.opset < 13:
        return {0: wanted} if wanted.axis < g.int_attribute(node, "axis", 1) % rank else None
    return {0: wanted} if wanted.axis != g.int_attribute(node, "axis", -1) % rank else None


def _reduce(node: ir.Node, wanted: Position, rank: int, shapes: Shapes) -> Sources | None:
    del shapes
    attribute = g.ints_attribute(node, "axes")
    axes = g.array(g.input_at(node, 1)) if attribute is None else attribute
    if axes is None or not g.int_attribute(node, "keepdims", 1):
        return None
    return None if wanted.axis in {int(axis) % rank for axis in axes} else {0: wanted}


def _concat(node: ir.Node, wanted: Position, rank: int, shapes: Shapes) -> Sources | None:
    del shapes
    along = g.int_attribute(node, "axis", 0) % rank
    return None if wanted.axis == along else dict.fromkeys(range(len(node.inputs)), wanted)


def _transpose(node: ir.Node, wanted: Position, rank: int, shapes: Shapes) -> Sources | None:
    del shapes
    order = g.ints_attribute(node, "perm") or list(range(rank))[::-1]
    return {0: replace(wanted, axis=order[wanted.axis])}


def _reshape(node: ir.Node, wanted: Position, rank: int, shapes: Shapes) -> Sources | None:
    """The axis and all before it stay as they are."""
    del rank
    before, after = shapes.symbolic(node.inputs[0]), shapes.symbolic(node.outputs[0])
    target = g.array(node.inputs[1])
    if before is None or after is None or target is None or (g.int_attribute(node, "allowzero", 0) and 0 in target):
        return None
    kept = wanted.axis + 1
    return {0: wanted} if len(before) >= kept and before[:kept] == after[:kept] else None


def _matmul(node: ir.Node, wanted: Position, rank: int, shapes: Shapes) -> Sources | None:
    """A row of A @ B is made from that row of A and all of B."""
    ranks = [shapes.rank(value) for value in node.inputs]
    if ranks[0] is None or ranks[1] is None or min(ranks[0], ranks[1]) < 2:
        return None
    if wanted.axis == rank - 2:
        return {0: replace(wanted, axis=ranks[0] - 2)}
    if wanted.axis == rank - 1:
        return {1: replace(wanted, axis=ranks[1] - 1)}
    return _aligned(node, range(2), wanted, rank, shapes)


def _gemm(node: ir.Node, wanted: Position, rank: int, shapes: Shapes) -> Sources | None:
    if wanted.axis != 0:
        return None
    found: Sources = {0: replace(wanted, axis=g.int_attribute(node, "transA", 0))}
    addend = g.input_at(node, 2)
    if addend is None:
        return found
    aligned = _aligned(node, range(2, 3), wanted, rank, shapes)
    return None if aligned is None else found | aligned


def _attention(node: ir.Node, wanted: Position, rank: int, shapes: Shapes) -> Sources | None:
    """One query needs its row of the mask, and every key and value."""
    mask = g.input_at(node, 3)
    cached = any(g.input_at(node, index) is not None for index in (4, 5, 6))
    if rank != 4 or wanted.axis != 2 or cached or g.int_attribute(node, "is_causal", 0):
        return None
    aligned = {} if mask is None else _aligned(node, range(3, 4), wanted, rank, shapes)
    return None if aligned is None else {0: wanted} | aligned


_RULES = {
    "LayerNormalization": _normalized,
    "RMSNormalization": _normalized,
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
    "ReduceMean": _reduce,
    "Concat": _concat,
    "Transpose": _transpose,
    "Reshape": _reshape,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Attention": _attention,
}
