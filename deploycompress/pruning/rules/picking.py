"""Operators that pick, join or pad along an axis: labels go with their elements.

Source: ONNX operators Concat, Split, Slice, Gather, Pad (opset 18: axes), Trilu.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.pruning import axes as ax
from deploycompress.pruning.axes import Axis, Layout, Pick
from deploycompress.pruning.indexing import chained, elements, take, with_axis
from deploycompress.pruning.ties import tie
from deploycompress.pruning.trace import Rule, Trace


def concat(node: ir.Node, trace: Trace) -> Sequence[Layout] | str:
    """Every axis but one is tied."""
    layouts = [trace.of(value) for value in node.inputs]
    joint = layouts[0]
    axis = g.int_attribute(node, "axis", 0) % len(joint.axes)
    others = [(n, n) for n in range(len(joint.axes)) if n != axis]
    for layout in layouts[1:]:
        joint, _ = tie(joint, layout, others, trace.labels)
    found = chained(layouts, axis, trace.labels)
    parts: list[Axis | Pick] = list(ax.picks(joint))
    total = sum(layout.shape[axis] for layout in layouts)
    parts[axis] = ax.fixed_axis(total, next((f.why for each in layouts for f in each.axes[axis]), ""))
    out = ax.assembled(parts, trace.labels)
    return [out if found is None else with_axis(out, axis, found, trace.labels)]


def split(node: ir.Node, trace: Trace) -> Sequence[Layout] | str:
    """Consecutive parts."""
    x = trace.of(node.inputs[0])
    axis = g.int_attribute(node, "axis", 0) % len(x.axes)
    lengths = [trace.shapes[output][axis] for output in node.outputs]
    starts = [end - length for end, length in zip(accumulate(lengths), lengths, strict=True)]
    return [
        take(x, axis, np.arange(start, start + length), trace.labels)
        for start, length in zip(starts, lengths, strict=True)
    ]


def slice_(node: ir.Node, trace: Trace) -> Sequence[Layout] | str:
    """Ranges with step 1 along axes that may be cut; along the others anything."""
    x, shape = trace.of(node.inputs[0]), trace.shapes[node.outputs[0]]
    ranges = slices(node, x.shape)
    for axis in range(len(x.axes)):
        if ax.is_fixed(x.axes[axis]):
            why = x.axes[axis][0].why if x.axes[axis] else ""
            x = Layout((*x.axes[:axis], ax.fixed_axis(shape[axis], why), *x.axes[axis + 1 :]), x.blocks)
        elif ranges is None:
            return "computes what it cuts out"
        elif axis in ranges:
            start, end, step = ranges[axis]
            if step != 1:
                return "skips elements"
            x = take(x, axis, np.arange(start, end), trace.labels)
    return [x]


def slices(node: ir.Node, shape: Sequence[int]) -> dict[int, tuple[int, int, int]] | None:
    """(start, end, step) by axis, for a Slice with constant bounds."""
    if len(node.inputs) > 1:
        given = [g.array(value) for value in node.inputs[1:] if value is not None]
        if any(part is None for part in given) or len(given) != len(node.inputs) - 1:
            return None
        lists = [[int(i) for i in part.ravel()] for part in given if part is not None]
        starts, ends = lists[:2]
        axes = lists[2] if len(lists) > 2 else list(range(len(starts)))
        steps = lists[3] if len(lists) > 3 else [1] * len(starts)
    else:
        starts, ends = g.ints_attribute(node, "starts") or [], g.ints_attribute(node, "ends") or []
        axes, steps = g.ints_attribute(node, "axes") or list(range(len(starts))), [1] * len(starts)
    found = {}
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis %= len(shape)
        found[axis] = (*slice(start, end, step).indices(shape[axis])[:2], step) if step > 0 else (0, 0, step)
    return found


def gather(node: ir.Node, trace: Trace) -> Sequence[Layout] | str:
    """Constant indices along an axis that may be cut; a table looked up by what is fed keeps its rows."""
    x, indices = trace.of(node.inputs[0]), g.array(node.inputs[1])
    axis = g.int_attribute(node, "axis", 0) % len(x.axes)
    if indices is None or indices.ndim > 1 or ax.is_fixed(x.axes[axis]):
        x = ax.fix_axis(x, axis, f"Gather {g.label(node)!r} looks it up by what is fed", trace.labels)
        shape = trace.shapes[node.outputs[0]]
        rank = len(shape) - len(x.axes) + 1
        picked = ax.fixed(shape[axis : axis + rank], "it is looked up").axes
        return [ax.assembled([*ax.picks(x)[:axis], *picked, *ax.picks(x)[axis + 1 :]], trace.labels)]
    x = take(x, axis, indices.ravel() % x.shape[axis], trace.labels)
    if indices.ndim == 0:
        x = Layout((*x.axes[:axis], *x.axes[axis + 1 :]), x.blocks)
    return [x]


def pad(node: ir.Node, trace: Trace) -> Sequence[Layout] | str:
    """Zeros before and after; those beside channels go with the channels they are added to."""
    x, shape = trace.of(node.inputs[0]), trace.shapes[node.outputs[0]]
    widths = pads(node, len(x.axes))
    for axis in range(len(x.axes)):
        if shape[axis] == x.shape[axis]:
            continue
        if widths is None or g.string_attribute(node, "mode", "constant") != "constant" or min(widths[axis]) < 0:
            x = ax.fix_axis(x, axis, "Pad adds to it", trace.labels)
            x = Layout((*x.axes[:axis], ax.fixed_axis(shape[axis], "Pad adds to it"), *x.axes[axis + 1 :]), x.blocks)
            continue
        before, after = (trace.labels.fresh(width) for width in widths[axis])
        x, found = elements(x, axis, trace.labels)
        if found is None:
            found = trace.labels.fresh(x.shape[axis])
            trace.labels.freeze(found, x.axes[axis][0].why if x.axes[axis] else "padded alone")
        x = with_axis(x, axis, np.concatenate([before, found, after]), trace.labels)
    return [x]


def pads(node: ir.Node, rank: int) -> list[tuple[int, int]] | None:
    """(before, after) of every axis, where they are constant."""
    given = g.ints_attribute(node, "pads")
    if given is None:
        constant, axes = g.array(g.input_at(node, 1)), g.array(g.input_at(node, 3))
        if constant is None or (axes is None and g.input_at(node, 3) is not None):
            return None
        given = [int(width) for width in constant]
        if axes is not None:
            every = [0] * (2 * rank)
            for place, axis in enumerate(int(axis) % rank for axis in axes):
                every[axis], every[rank + axis] = given[place], given[len(axes) + place]
            given = every
    return list(zip(given[:rank], given[rank:], strict=True))


def trilu(node: ir.Node, trace: Trace) -> Sequence[Layout] | str:
    """The last two axes stand for rows and columns of one matrix."""
    x = trace.of(node.inputs[0])
    for axis in (-2, -1):
        x = ax.fix_axis(x, axis % len(x.axes), "Trilu cuts a triangle out of it", trace.labels)
    return [x]


RULES: dict[tuple[str, str], Rule] = {
    ("", "Concat"): concat,
    ("", "Split"): split,
    ("", "Slice"): slice_,
    ("", "Gather"): gather,
    ("", "Pad"): pad,
    ("", "Trilu"): trilu,
}
