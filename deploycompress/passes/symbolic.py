"""model -> the length of every axis as an integer or a symbol: equal symbols are equal lengths.

`shapes.infer` proves integers. This walks the graph once more with names for what it left open: the symbols of the
graph inputs, and one new name for every axis it can say nothing about. It follows shape arithmetic (Shape, Gather,
Slice, Concat ...) by value, so that `Reshape(x, [Shape(x)[0], -1, 12, 32])` is known to keep the first axis of x.

Two axes of one symbol are taken to be equal, which ONNX Runtime does not check. Feeds that break the promise of the
model's own signature are the one case where a rewrite built on this may answer where the original stops with an error.
Source: ONNX IR specification, "Static tensor shapes" (dimension variables); operator specifications for the shapes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes.broadcasting import Dim, Dims, broadcast
from deploycompress.passes.shape_arithmetic import Facts, contents
from deploycompress.passes.shapes import Shapes, infer

# fmt: off
_SAME_SHAPE = frozenset({
    "Abs", "Cast", "Ceil", "Celu", "Clip", "Cos", "CumSum", "Dropout", "Elu", "Erf", "Exp", "Floor", "Gelu",
    "HardSigmoid", "HardSwish", "Identity", "IsNaN", "LayerNormalization", "LeakyRelu", "Log", "LogSoftmax", "Mish",
    "Neg", "Not", "RMSNormalization", "Reciprocal", "Relu", "Round", "ScatterND", "Selu", "Sigmoid", "Sign", "Sin",
    "Softmax", "Softplus", "Sqrt", "Swish", "Tanh", "Trilu",
})
_BROADCASTING = frozenset({
    "Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod",
    "Mul", "Or", "Pow", "Sub", "Sum", "Where", "Xor",
})
# fmt: on


def symbolic(model: ir.Model) -> Shapes:
    """Walks the main graph; values of control-flow bodies keep what `shapes.infer` knows of them."""
    found = Facts(infer(model))
    for value in model.graph.inputs:
        if value.shape is not None:
            found.shapes.lengths[value] = tuple(
                d if isinstance(d, int) else d.value or f"{value.name}.{axis}" for axis, d in enumerate(value.shape)
            )
    for node in model.graph:
        dims = None
        if node.domain in g.STANDARD_DOMAINS and node.outputs:
            elements, dims = contents(node, found), _dims(node, found)
            if elements is not None:
                found.contents[node.outputs[0]] = elements
        for output in node.outputs:
            _name(output, dims if output is node.outputs[0] or node.op_type == "Split" else None, found.shapes)
    return found.shapes


def _name(value: ir.Value, dims: Dims | None, shapes: Shapes) -> None:
    """Keeps what is certain, then what was derived, then gives each axis a new name."""
    certain = shapes.of(value)
    if certain is None or (dims is not None and len(dims) != len(certain)):
        return
    derived = dims or tuple(f"{value.name}.{axis}" for axis in range(len(certain)))
    shapes.lengths[value] = tuple(d if c is None else c for c, d in zip(certain, derived, strict=True))


def _dims(node: ir.Node, found: Facts) -> Dims | None:
    """The shape of the first output, where this file has a rule for it."""
    shapes = [found.of(value) for value in node.inputs]
    if not shapes or shapes[0] is None:
        return None
    name = node.outputs[0].name or ""
    if node.op_type in _SAME_SHAPE:
        return shapes[0]
    if node.op_type in _BROADCASTING:
        known = [dims for dims in shapes if dims is not None]
        return broadcast(known, name) if len(known) == len(shapes) else None
    rule = _RULES.get(node.op_type)
    return None if rule is None else rule(node, found, shapes[0])


def _transpose(node: ir.Node, found: Facts, dims: Dims) -> Dims | None:
    del found
    order = g.ints_attribute(node, "perm") or list(range(len(dims)))[::-1]
    return tuple(dims[axis] for axis in order)


def _reshape(node: ir.Node, found: Facts, dims: Dims) -> Dims | None:
    target = found.elements(node.inputs[1])
    if target is None:
        return None
    if not g.int_attribute(node, "allowzero", 0):
        if any(length == 0 and axis >= len(dims) for axis, length in enumerate(target)):
            return None
        target = tuple(dims[axis] if length == 0 else length for axis, length in enumerate(target))
    if -1 not in target:
        return target
    rest = _quotient(dims, [length for length in target if length != -1])
    hidden = f"{node.outputs[0].name}.{target.index(-1)}" if rest is None else rest
    return tuple(hidden if length == -1 else length for length in target)


def _quotient(dims: Sequence[Dim], by: Sequence[Dim]) -> Dim | None:
    """Product of `dims` over product of `by`, where it is one integer or one symbol."""
    above, below = (Counter(d for d in side if isinstance(d, str)) for side in (dims, by))
    over, under = (math.prod(d for d in side if isinstance(d, int)) for side in (dims, by))
    if below - above or under == 0 or over % under:
        return None
    left = list((above - below).elements())
    if not left:
        return over // under
    return left[0] if len(left) == 1 and over == under else None


def _matmul(node: ir.Node, found: Facts, dims: Dims) -> Dims | None:
    other = found.of(node.inputs[1])
    if other is None or len(dims) < 2 or len(other) < 2:
        return None
    batch = broadcast([dims[:-2], other[:-2]], f"{node.outputs[0].name}") if dims[:-2] or other[:-2] else ()
    return (*batch, dims[-2], other[-1])


def _gemm(node: ir.Node, found: Facts, dims: Dims) -> Dims | None:
    other = found.of(node.inputs[1])
    if other is None or len(dims) != 2 or len(other) != 2:
        return None
    rows, columns = g.int_attribute(node, "transA", 0), 1 - g.int_attribute(node, "transB", 0)
    return (dims[rows], other[columns])


def _reduce(node: ir.Node, found: Facts, dims: Dims) -> Dims | None:
    axes = g.ints_attribute(node, "axes") or found.elements(g.input_at(node, 1))
    if axes is None or not g.int_attribute(node, "keepdims", 1):
        return None
    gone = {int(axis) % len(dims) for axis in axes}
    return tuple(1 if axis in gone else length for axis, length in enumerate(dims))


def _range(node: ir.Node, found: Facts, dims: Dims) -> Dims | None:
    del dims
    start, limit, step = (found.elements(value) for value in node.inputs)
    return limit if start == (0,) and step == (1,) else None


def _attention(node: ir.Node, found: Facts, dims: Dims) -> Dims | None:
    """Rank 4: [batch, heads, queries, value size]."""
    value = found.of(node.inputs[2])
    return (*dims[:3], value[3]) if len(dims) == 4 and value is not None else None


def _gather(node: ir.Node, found: Facts, dims: Dims) -> Dims | None:
    indices = found.of(node.inputs[1])
    if indices is None:
        return None
    axis = g.int_attribute(node, "axis", 0) % len(dims)
    return (*dims[:axis], *indices, *dims[axis + 1 :])


def _slice(node: ir.Node, found: Facts, dims: Dims) -> Dims | None:
    """`x[:, :n]` of a fixed length L has min(n, L); an axis that is not sliced stays."""
    starts, ends = found.elements(node.inputs[1]), found.elements(node.inputs[2])
    axes, steps = (found.elements(g.input_at(node, index)) for index in (3, 4))
    if starts is None or ends is None or (axes is None and g.input_at(node, 3) is not None):
        return None
    axes = tuple(range(len(starts))) if axes is None else axes
    result = list(dims)
    for place, axis in enumerate(int(a) % len(dims) for a in axes):
        start, end, length = starts[place], ends[place], dims[axis]
        step = 1 if g.input_at(node, 4) is None else steps[place] if steps is not None else 0
        if start == 0 and step == 1 and isinstance(end, str) and isinstance(length, int):
            result[axis] = f"min({end},{length})"
        elif start != 0 or step != 1 or end != length:
            result[axis] = f"{node.outputs[0].name}.{axis}"
    return tuple(result)


def _unsqueeze(node: ir.Node, found: Facts, dims: Dims) -> Dims | None:
    axes = g.ints_attribute(node, "axes") or found.elements(g.input_at(node, 1))
    if axes is None:
        return None
    rank = len(dims) + len(axes)
    new, old = {int(axis) % rank for axis in axes}, iter(dims)
    return tuple(1 if axis in new else next(old) for axis in range(rank))


def _expand(node: ir.Node, found: Facts, dims: Dims) -> Dims | None:
    target = found.elements(node.inputs[1])
    return None if target is None else broadcast([dims, target], node.outputs[0].name or "")


def _constant_of_shape(node: ir.Node, found: Facts, dims: Dims) -> Dims | None:
    del dims
    return found.elements(node.inputs[0])


def _concat(node: ir.Node, found: Facts, dims: Dims) -> Dims | None:
    """Every axis but one stays; for the lengths of that one (and of every output of Split) `shapes.infer` is asked."""
    del found
    axis = g.int_attribute(node, "axis", 0) % len(dims)
    return (*dims[:axis], f"{node.outputs[0].name}.{axis}", *dims[axis + 1 :])


def _first_axis(node: ir.Node, found: Facts, dims: Dims) -> Dims | None:
    """Convolutions and pools keep the batch; what follows is for `shapes.infer`."""
    certain = found.shapes.of(node.outputs[0])
    return None if certain is None else (dims[0], *(f"{node.outputs[0].name}.{n}" for n in range(1, len(certain))))


_RULES: dict[str, Callable[[ir.Node, Facts, Dims], Dims | None]] = {
    "Transpose": _transpose,
    "Reshape": _reshape,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Gather": _gather,
    "Slice": _slice,
    "Unsqueeze": _unsqueeze,
    "Expand": _expand,
    "ConstantOfShape": _constant_of_shape,
    "Concat": _concat,
    "Split": _concat,
    "Conv": _first_axis,
    "ReduceMean": _reduce,
    "ReduceSum": _reduce,
    "Range": _range,
    "Attention": _attention,
}
