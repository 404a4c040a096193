"""Y = X W: the rows of W go with the channels of X, the columns of W are the channels of Y.

A grouped convolution loses whole groups, input and output channels together; of a depthwise one each channel is such a
group. Source: ONNX operators Conv, ConvTranspose, Gemm, MatMul.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.pruning import axes as ax
from deploycompress.pruning.axes import Block, Factor, Layout, Pick
from deploycompress.pruning.labels import Array, Labels
from deploycompress.pruning.rules.elementwise import meeting
from deploycompress.pruning.ties import tie
from deploycompress.pruning.trace import Rule, Trace

SLIDES = "a kernel slides along it"
_GROUP = "channels of one group stay together"


def ruler(groups: Array, each: int, why: str, labels: Labels) -> Layout:
    """A vector of equal parts, of which whole ones may go: a label for each part."""
    if groups.size == 1:
        return ax.fixed([each], why)
    name = labels.name()
    inner = ax.fixed_axis(each, why)
    return Layout(((Factor(groups.size, name), *inner),), (Block(groups, (name,)),))


def conv(node: ir.Node, trace: Trace) -> Sequence[Layout] | str:
    """X [N, C, ...], W [M, C / groups, ...] -> [N, M, ...]."""
    labels, groups = trace.labels, g.int_attribute(node, "group", 1)
    x, w = _still(trace.of(node.inputs[0]), labels), _still(trace.of(node.inputs[1]), labels)
    if groups == 1:
        x, w = tie(x, w, [(1, 1)], labels)
    else:
        each = labels.fresh(groups)
        w = ax.fix_axis(w, 1, _GROUP, labels)
        x, _ = tie(x, ruler(each, x.shape[1] // groups, _GROUP, labels), [(1, 0)], labels)
        w, _ = tie(w, ruler(each, w.shape[0] // groups, _GROUP, labels), [(0, 0)], labels)
    return _convolved(node, trace, x, Pick(w, 0))


def conv_transpose(node: ir.Node, trace: Trace) -> Sequence[Layout] | str:
    """X [N, C, ...], W [C, M / groups, ...] -> [N, M, ...]."""
    labels, groups = trace.labels, g.int_attribute(node, "group", 1)
    x, w = _still(trace.of(node.inputs[0]), labels), _still(trace.of(node.inputs[1]), labels)
    if groups == 1:
        x, w = tie(x, w, [(1, 0)], labels)
        return _convolved(node, trace, x, Pick(w, 1))
    each = labels.fresh(groups)
    own = ruler(each, x.shape[1] // groups, _GROUP, labels)
    for layout in (x, w):
        tie(layout, own, [(1 if layout is x else 0, 0)], labels)
    outputs = w.shape[1]
    ax.fix_axis(w, 1, _GROUP, labels)
    return _convolved(node, trace, x, Pick(ruler(each, outputs, _GROUP, labels), 0))


def _still(layout: Layout, labels: Labels) -> Layout:
    for axis in range(2, len(layout.axes)):
        layout = ax.fix_axis(layout, axis, SLIDES, labels)
    return layout


def _convolved(node: ir.Node, trace: Trace, x: Layout, channels: Pick) -> Sequence[Layout]:
    spatial = ax.fixed(trace.shapes[node.outputs[0]][2:], SLIDES).axes
    out = ax.assembled([Pick(x, 0), channels, *spatial], trace.labels)
    bias = g.input_at(node, 2)
    return [out if bias is None else tie(out, trace.of(bias), [(1, 0)], trace.labels)[0]]


def gemm(node: ir.Node, trace: Trace) -> Sequence[Layout] | str:
    """A [M, K] or its transpose, B [K, N] or its transpose, C broadcast -> [M, N]."""
    rows, columns = g.int_attribute(node, "transA", 0), 1 - g.int_attribute(node, "transB", 0)
    a, b = tie(trace.of(node.inputs[0]), trace.of(node.inputs[1]), [(1 - rows, 1 - columns)], trace.labels)
    out = ax.assembled([Pick(a, rows), Pick(b, columns)], trace.labels)
    bias = g.input_at(node, 2)
    return [out if bias is None else meeting([out, trace.of(bias)], trace.labels)]


def matmul(node: ir.Node, trace: Trace) -> Sequence[Layout] | str:
    """A [..., M, K], B [..., K, N] -> [..., M, N], two activations too."""
    a, b = trace.of(node.inputs[0]), trace.of(node.inputs[1])
    if len(a.axes) < 2 or len(b.axes) < 2:
        return "multiplies a vector"
    rank = max(len(a.axes), len(b.axes)) - 2
    behind_a, behind_b = rank + 2 - len(a.axes), rank + 2 - len(b.axes)
    batch = [(n - behind_a, n - behind_b) for n in range(max(behind_a, behind_b), rank)]
    a, b = tie(a, b, [*batch, (len(a.axes) - 1, len(b.axes) - 2)], trace.labels)
    parts = []
    for n in range(rank):
        from_a = n >= behind_a and (n < behind_b or bool(a.axes[n - behind_a]))
        parts.append(Pick(a, n - behind_a) if from_a else Pick(b, n - behind_b))
    return [ax.assembled([*parts, Pick(a, len(a.axes) - 2), Pick(b, len(b.axes) - 1)], trace.labels)]


RULES: dict[tuple[str, str], Rule] = {
    ("", "Conv"): conv,
    ("", "ConvTranspose"): conv_transpose,
    ("", "Gemm"): gemm,
    ("", "MatMul"): matmul,
}
