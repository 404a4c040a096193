"""Reductions and pools. Zeros count for nothing in a sum; a mean becomes one over what is left; a maximum stays.

Source: ONNX operators ReduceSum and its kin (axes as an attribute or an input), pools, Resize.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.pruning import axes as ax
from deploycompress.pruning.axes import Axis, Layout, Pick
from deploycompress.pruning.trace import Rule, Trace

_SUMS = ("ReduceSum", "ReduceSumSquare", "ReduceL1", "ReduceL2")
_OTHERS = ("ReduceMax", "ReduceMin", "ReduceProd", "ReduceLogSum", "ReduceLogSumExp")
_POOLS = ("AveragePool", "MaxPool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "Resize")


def reduction(node: ir.Node, trace: Trace) -> Sequence[Layout] | str:
    """Some axes are summed up, or all."""
    x, given = trace.of(node.inputs[0]), g.input_at(node, 1)
    axes = g.ints_attribute(node, "axes")
    if given is not None:
        constant = g.array(given)
        if constant is None:
            return "computes along which axes it works"
        axes = [int(axis) for axis in constant.ravel()]
    if not axes:
        if g.int_attribute(node, "noop_with_empty_axes", 0):
            return [x]
        axes = list(range(len(x.axes)))
    gone = {axis % len(x.axes) for axis in axes}
    for axis in gone:
        if node.op_type == "ReduceMean":
            trace.averages(x, axis)
        elif node.op_type not in _SUMS:
            x = ax.fix_axis(x, axis, f"{node.op_type} looks along it", trace.labels)
    left: Axis = ()
    kept = g.int_attribute(node, "keepdims", 1)
    parts = [left if n in gone else Pick(x, n) for n in range(len(x.axes)) if kept or n not in gone]
    return [ax.assembled(parts, trace.labels)]


def pool(node: ir.Node, trace: Trace) -> Sequence[Layout] | str:
    """Batch and channels stay what they are, where their lengths do; image axes stay whole."""
    x, shape = trace.of(node.inputs[0]), trace.shapes[node.outputs[0]]
    parts: list[Axis | Pick] = [Pick(x, 0), Pick(x, 1)]
    for axis, length in enumerate(shape):
        if axis >= 2 or length != x.shape[axis]:
            why = f"{node.op_type} slides along it"
            x = ax.fix_axis(x, axis, why, trace.labels)
            parts[axis:] = [ax.fixed_axis(length, why)]
    parts = [Pick(x, n) if isinstance(part, Pick) else part for n, part in enumerate(parts)]
    return [ax.assembled(parts, trace.labels)]


RULES: dict[tuple[str, str], Rule] = {
    **{("", op_type): reduction for op_type in (*_SUMS, *_OTHERS, "ReduceMean")},
    **{("", op_type): pool for op_type in _POOLS},
}
