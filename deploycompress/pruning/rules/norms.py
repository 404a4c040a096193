"""Normalizations: parameters go with their channels; a mean over what is cut becomes one over what is left.

Source: ONNX operators BatchNormalization, InstanceNormalization, GroupNormalization, LayerNormalization,
RMSNormalization, LpNormalization, Softmax; ONNX Runtime contrib operators for the fused ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.pruning import axes as ax
from deploycompress.pruning.axes import Layout
from deploycompress.pruning.rules.elementwise import meeting
from deploycompress.pruning.rules.products import ruler
from deploycompress.pruning.ties import tie
from deploycompress.pruning.trace import Rule, Trace


def batch_norm(node: ir.Node, trace: Trace) -> Sequence[Layout] | str:
    """One figure a channel; an instance norm averages over the image."""
    x = trace.of(node.inputs[0])
    if node.op_type == "InstanceNormalization":
        for axis in range(2, len(x.axes)):
            x = ax.fix_axis(x, axis, "an instance is normalized along it", trace.labels)
    for value in node.inputs[1:]:
        x, _ = tie(x, trace.of(value), [(1, 0)], trace.labels)
    return [x]


def group_norm(node: ir.Node, trace: Trace) -> Sequence[Layout] | str:
    """Whole groups go; parameters are given for each group (opset 18) or each channel (21)."""
    labels, groups = trace.labels, g.int_attribute(node, "num_groups", 1)
    why = "channels of one group are normalized together"
    each = labels.fresh(groups)
    x = trace.of(node.inputs[0])
    channels = ruler(each, x.shape[1] // groups, why, labels)
    x, _ = tie(x, channels, [(1, 0)], labels)
    for value in node.inputs[1:]:
        parameter = trace.of(value)
        own = channels if parameter.shape[0] == x.shape[1] else ruler(each, 1, why, labels)
        tie(parameter, own, [(0, 0)], labels)
    return [x]


def layer_norm(node: ir.Node, trace: Trace) -> Sequence[Layout] | str:
    """Mean and variance, or the mean square, over the last axes."""
    x = meeting([trace.of(value) for value in node.inputs if value is not None], trace.labels)
    first = g.int_attribute(node, "axis", -1) % len(x.axes)
    for axis in range(first, len(x.axes)):
        trace.averages(x, axis)
    if len(x.axes) != len(trace.of(node.inputs[0]).axes):
        return "has parameters of more axes than its input"
    means = ax.assembled([*ax.picks(x)[:first], *([()] * (len(x.axes) - first))], trace.labels)
    return [x, means, means]


def skip_layer_norm(node: ir.Node, trace: Trace) -> Sequence[Layout] | str:
    """LayerNorm of a sum, which is the fourth output; its last axis stays."""
    x = meeting([trace.of(value) for value in node.inputs if value is not None], trace.labels)
    x = ax.fix_axis(x, len(x.axes) - 1, f"{node.op_type} normalizes along it", trace.labels)
    means = ax.assembled([*ax.picks(x)[:-1], ()], trace.labels)
    return [x, means, means, x]


def embed_layer_norm(node: ir.Node, trace: Trace) -> Sequence[Layout] | str:
    """LayerNorm of the sum of up to three tables, looked up by what is fed; all of it stays."""
    why = f"{node.op_type} normalizes along it"
    for value in node.inputs[2:7]:
        if value is not None:
            trace.freeze(trace.of(value), why)
    return [ax.fixed(trace.shapes[value], why) for value in node.outputs]


def softmax(node: ir.Node, trace: Trace) -> Sequence[Layout] | str:
    """Shares along an axis, or up to opset 12 along all axes from there: they would sum to 1 without what is cut."""
    x = trace.of(node.inputs[0])
    axis = g.int_attribute(node, "axis", -1 if trace.opset >= 13 else 1) % len(x.axes)
    for each in range(axis, len(x.axes) if trace.opset < 13 else axis + 1):
        x = ax.fix_axis(x, each, f"{node.op_type} takes shares along it", trace.labels)
    return [x]


def lp_norm(node: ir.Node, trace: Trace) -> Sequence[Layout] | str:
    """Divided by a sum in which zeros count for nothing."""
    return [trace.of(node.inputs[0])]


RULES: dict[tuple[str, str], Rule] = {
    ("", "BatchNormalization"): batch_norm,
    ("", "InstanceNormalization"): batch_norm,
    ("", "GroupNormalization"): group_norm,
    ("", "LayerNormalization"): layer_norm,
    ("", "RMSNormalization"): layer_norm,
    ("", "SimplifiedLayerNormalization"): layer_norm,
    ("com.microsoft", "SkipLayerNormalization"): skip_layer_norm,
    ("com.microsoft", "SkipSimplifiedLayerNormalization"): skip_layer_norm,
    ("com.microsoft", "EmbedLayerNormalization"): embed_layer_norm,
    ("", "LpNormalization"): lp_norm,
    ("", "Softmax"): softmax,
    ("", "LogSoftmax"): softmax,
}
