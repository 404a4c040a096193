"""lengths read through Shape that become numbers of the computation -> the axes they count must stay as they are.

A mean written as a sum over a count of channels, a scale of 1 / sqrt(C): with fewer channels the count changes, and so
does what the graph gives. Each element of every small tensor of integers behind a Shape is followed back to the axes it
comes from. A view whose own axis is cut is told what is left of it (see `patches`), however its target was
computed; a length computed for an axis that stays, and whatever else reads one, keeps the axes it counts whole.

Source: ONNX operators Shape and Size, and those that move or combine integers element by element.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deploycompress.passes import graph as g
from deploycompress.pruning import axes as ax
from deploycompress.pruning.axes import Layout
from deploycompress.pruning.labels import Array
from deploycompress.pruning.trace import Trace

_TARGETS = {"Reshape": 1, "Expand": 1, "Resize": 3}
_SAME = ("Identity", "Squeeze", "Unsqueeze", "Reshape", "Cast")
_CHOOSING = ("Equal", "Where")
_ARITHMETIC = ("Add", "Sub", "Mul", "Div", "Mod", "Max", "Min")
_Counted = frozenset[tuple[ir.Value, int, bool]]  # value, axis, whether something was computed from its length
_Elements = NDArray[np.object_]

_NOTHING: _Counted = frozenset()


def freeze_counted(model: ir.Model, trace: Trace) -> None:
    """Makes axes stay whose lengths are computed with, in `trace` of `model`."""
    known: dict[ir.Value, _Elements] = {}
    roots = trace.labels.roots()
    for node in model.graph:
        if node.outputs and (found := _behind(node, known, trace)) is not None:
            known[node.outputs[0]] = found
            continue
        target = _TARGETS.get(node.op_type, -1) if node.domain in g.STANDARD_DOMAINS else -1
        inner = (value for body in g.bodies(node) for part in body.all_nodes() for value in part.inputs)
        why = f"{node.op_type} {g.label(node)!r} computes with its length"
        for index, value in enumerate((*node.inputs, *inner)):
            if value in known and index == target:
                _freeze(trace, _not_told(known[value], trace.layouts.get(node.outputs[0]), roots), why)
            elif value in known:
                _freeze(trace, _NOTHING.union(*known[value].ravel()), why)
    for output in model.graph.outputs:
        if output in known:
            _freeze(trace, _NOTHING.union(*known[output].ravel()), f"its length is the graph output {output.name!r}")


def _freeze(trace: Trace, counted: _Counted, why: str) -> None:
    for value, axis, _ in counted:
        if value in trace.layouts:
            ax.fix_axis(trace.layouts[value], axis, why, trace.labels)  # whole heads may still go, their size stays


def _not_told(elements: _Elements, made: Layout | None, roots: Array) -> _Counted:
    """What a view computes lengths from that it is not told anew: those of axes that cannot be cut themselves."""
    found = _NOTHING
    for axis, counted in enumerate(elements.ravel()):
        if made is None or axis >= len(made.axes) or not _may_be_cut(made, axis, roots):
            found |= {each for each in counted if each[2]}
    return found


def _may_be_cut(layout: Layout, axis: int, roots: Array) -> bool:
    """Whether some of its indices can go without the others."""
    for name in ax.names(layout.axes[axis]):
        block = layout.block(name)
        rows = np.moveaxis(roots[block.labels], block.names.index(name), 0)
        if (rows != rows[:1]).any():
            return True
    return False


def _behind(node: ir.Node, known: dict[ir.Value, _Elements], trace: Trace) -> _Elements | None:
    """The axes behind each element of what `node` gives; None where it is no such tensor, or not one to follow."""
    first = g.input_at(node, 0)
    if first is None:
        return None
    if g.is_op(node, "Shape", "Size") and first in trace.shapes:
        rank = len(trace.shapes[first])
        every = _elements([frozenset({(first, axis, False)}) for axis in range(rank)])
        if node.op_type == "Size":
            return _elements([_computed(_NOTHING.union(*every))])
        return every[slice(g.int_attribute(node, "start", 0), g.int_attribute(node, "end", rank))]
    read = [value for value in node.inputs if value is not None]
    if not any(value in known for value in read) or (first not in known and g.is_op(node, *_TARGETS)):
        return None
    if g.is_op(node, "Cast") and g.int_attribute(node, "to", 0) not in (ir.DataType.INT64, ir.DataType.INT32):
        return None
    if g.is_op(node, *_SAME) and first in known:
        return known[first].ravel()
    if g.is_op(node, "Gather") and first in known and (indices := g.array(node.inputs[1])) is not None:
        return np.asarray(known[first].ravel()[indices.ravel()], object)
    if g.is_op(node, "Slice") and first in known:
        bounds = [g.array(value) for value in node.inputs[1:]]
        steps = bounds[3] if len(bounds) > 3 else np.ones(1, np.int64)
        if bounds[0] is not None and bounds[1] is not None and steps is not None and bounds[0].size == 1:
            return known[first].ravel()[slice(int(bounds[0][0]), int(bounds[1][0]), int(steps[0]))]
    if g.is_op(node, "Concat"):
        return np.concatenate([_of(value, known) for value in read])
    if g.is_op(node, *_CHOOSING, *_ARITHMETIC):
        parts = [_of(value, known) for value in read]
        size = max(part.size for part in parts)
        together = [_NOTHING.union(*(part[n % part.size] for part in parts)) for n in range(size)]
        return _elements([_computed(each) for each in together] if g.is_op(node, *_ARITHMETIC) else together)
    return None


def _computed(counted: _Counted) -> _Counted:
    return frozenset((value, axis, True) for value, axis, _ in counted)


def _of(value: ir.Value, known: dict[ir.Value, _Elements]) -> _Elements:
    if value in known:
        return known[value].ravel()
    constant = g.constant(value)
    return _elements([_NOTHING] * (1 if constant is None else max(1, constant.size)))


def _elements(sets: list[_Counted]) -> _Elements:
    found = np.empty(len(sets), object)
    found[:] = sets
    return found
