"""Reshape and its kin hand on the same elements in the same order: factors are cut, joined and shared out anew.

Source: ONNX operators Reshape, Flatten, Squeeze, Unsqueeze, Transpose, Expand, Shape, Size.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.pruning import axes as ax
from deploycompress.pruning.axes import Axis, Factor, Layout, Pick
from deploycompress.pruning.labels import Labels
from deploycompress.pruning.trace import Rule, Trace

_ACROSS = "a view cuts across it"


def reshaped(layout: Layout, shape: Sequence[int], labels: Labels) -> Layout:
    """The same elements in another shape; what is cut across becomes fixed."""
    while True:
        row = Layout((tuple(factor for axis in layout.axes for factor in axis),), layout.blocks)
        row = ax.joined(row, labels)
        inner, outer = ax.boundaries(f.length for f in row.axes[0]), ax.boundaries(shape)
        crossed = _crossed(row.axes[0], inner, outer)
        if not crossed:
            break
        layout = row
        for name in crossed:
            layout = ax.fix(layout, name, _ACROSS, labels)
    parts = ax.between(inner | outer)
    pieces = ax.split(row, 0, parts or [], labels)
    assert pieces is not None
    axes, rest = [], list(pieces.axes[0])
    for length in shape:
        axis: list[Factor] = []
        while ax.length(tuple(axis)) < length:
            axis.append(rest.pop(0))
        axes.append(tuple(axis))
    return ax.joined(Layout(tuple(axes), pieces.blocks), labels)


def _crossed(row: Axis, inner: set[int], outer: set[int]) -> list[int]:
    """Names of the factors in every stretch, between places where both cut, whose cuts do not divide one another."""
    found, start = [], 1
    for end in sorted(inner & outer):
        cuts = [cut // start if cut % start == 0 else 0 for cut in inner | outer if start < cut <= end]
        if 0 in cuts or ax.between(cuts) is None:
            before = 1
            for factor in row:
                if start <= before < end and factor.name:
                    found.append(factor.name)
                before *= factor.length
        start = end
    return found


def view(node: ir.Node, trace: Trace) -> Sequence[Layout] | str:
    """The shape of the output says it all."""
    shape = trace.shapes[node.outputs[0]]
    if 0 in shape:
        return "is empty"
    return [reshaped(trace.of(node.inputs[0]), shape, trace.labels)]


def transpose(node: ir.Node, trace: Trace) -> Sequence[Layout] | str:
    """Axes in another order."""
    x = trace.of(node.inputs[0])
    order = g.ints_attribute(node, "perm") or list(range(len(x.axes)))[::-1]
    return [Layout(tuple(x.axes[axis] for axis in order), x.blocks)]


def expand(node: ir.Node, trace: Trace) -> Sequence[Layout] | str:
    """New axes, and those of length 1, are repeated; nothing of the copies can go alone."""
    x, shape = trace.of(node.inputs[0]), trace.shapes[node.outputs[0]]
    offset = len(shape) - len(x.axes)
    parts: list[Axis | Pick] = [ax.fixed_axis(n, "Expand repeats it") for n in shape]
    for axis, factors in enumerate(x.axes):
        if factors:
            parts[offset + axis] = Pick(x, axis)
    return [ax.assembled(parts, trace.labels)]


def measured(node: ir.Node, trace: Trace) -> Sequence[Layout] | str:
    """Asking for a shape ties nothing: what is computed from it is told the new lengths (see `patches`)."""
    return [ax.fixed(trace.shapes[node.outputs[0]], "it is a shape")]


RULES: dict[tuple[str, str], Rule] = {
    **{("", op_type): view for op_type in ("Reshape", "Flatten", "Squeeze", "Unsqueeze")},
    ("", "Transpose"): transpose,
    ("", "Expand"): expand,
    **{("", op_type): measured for op_type in ("Shape", "Size", "ConstantOfShape", "Range", "Constant")},
}
