"""Fused attention: whole heads go, of queries, keys, values and the output together.

With fewer heads of keys and values than of queries, one of theirs goes with all that read it.
Source: ONNX operators Attention and RotaryEmbedding (opset 23); ONNX Runtime contrib operators MultiHeadAttention,
Attention, GroupQueryAttention and RotaryEmbedding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.pruning import axes as ax
from deploycompress.pruning.axes import Layout, Pick
from deploycompress.pruning.indexing import take
from deploycompress.pruning.rules.products import ruler
from deploycompress.pruning.ties import tie
from deploycompress.pruning.trace import Rule, Trace

_WHY = "a head stays whole"


def attention(node: ir.Node, trace: Trace) -> Sequence[Layout] | str:
    """Q, K, V [N, S, heads * size] with the numbers of heads as attributes, or [N, heads, S, size]."""
    layouts = [trace.of(value) for value in node.inputs[:3]]
    if any(g.input_at(node, index) is not None for index in range(4, len(node.inputs))):
        return "reads a cache of keys and values"
    is_flat = len(layouts[0].axes) == 3
    axis = 2 if is_flat else 1
    queries, keys = (g.int_attribute(node, f"{kind}_num_heads", layouts[0].shape[axis]) for kind in ("q", "kv"))
    if not is_flat:
        queries, keys = layouts[0].shape[1], layouts[1].shape[1]
    return _heads(node, trace, layouts, axis, queries, keys, g.input_at(node, 3))


def multi_head_attention(node: ir.Node, trace: Trace) -> Sequence[Layout] | str:
    """Q, K, V [N, S, heads * size] and one bias for all three."""
    given = [g.input_at(node, index) for index in range(max(6, len(node.inputs)))]
    if any(value is None for value in given[:3]) or any(value is not None for value in given[6:]):
        return "has packed inputs or a cache"
    layouts = [trace.of(value) for value in given[:3]]
    if any(len(layout.axes) != 3 for layout in layouts):
        return "has packed inputs or a cache"
    if given[3] is not None:
        starts = np.cumsum([0, *(layout.shape[2] for layout in layouts)])
        bias = trace.of(given[3])
        for n, layout in enumerate(layouts):
            own = take(bias, 0, np.arange(starts[n], starts[n + 1]), trace.labels)
            layouts[n], _ = tie(layout, own, [(2, 0)], trace.labels)
    heads = g.int_attribute(node, "num_heads", 1)
    return _heads(node, trace, layouts, 2, heads, heads, given[5])


def group_query_attention(node: ir.Node, trace: Trace) -> Sequence[Layout] | str:
    """Q [N, S, heads * size], K and V with fewer heads; a rotation inside turns every head by the same angles."""
    given = [g.input_at(node, index) for index in range(max(12, len(node.inputs)))]
    if any(value is None for value in given[:3]):
        return "has packed inputs"
    if any(value is not None for value in given[3:5]):
        return "reads a cache of keys and values"
    if any(value is not None for value in given[11:]):
        return "has a figure for each head"
    queries, keys = (g.int_attribute(node, name, 1) for name in ("num_heads", "kv_num_heads"))
    return _heads(node, trace, [trace.of(value) for value in given[:3]], 2, queries, keys, given[10])


def rotary_embedding(node: ir.Node, trace: Trace) -> Sequence[Layout] | str:
    """Every head turned by the angles of its positions: heads go whole, angles serve those that are left."""
    x = trace.of(node.inputs[0])
    if len(x.axes) == 4:
        return [ax.fix_axis(x, 3, _WHY, trace.labels)]
    heads = g.int_attribute(node, "num_heads", 0)
    if not heads:  # then a head is as long as all of its angles
        angles = g.constant(g.input_at(node, 2))
        if angles is None:
            return "does not say how many heads it turns"
        heads = x.shape[2] // (2 * angles.shape.numpy()[-1])
    own = ruler(trace.labels.fresh(heads), x.shape[2] // heads, _WHY, trace.labels)
    return [tie(x, own, [(2, 0)], trace.labels)[0]]


def merged_attention(node: ir.Node, trace: Trace) -> Sequence[Layout] | str:
    """X [N, S, C], W [C, 3 * heads * size] and its bias."""
    if any(value is not None for value in node.inputs[4:]):
        return "has a cache or a bias of its scores"
    x, w, bias = (trace.of(value) for value in node.inputs[:3])
    x, w = tie(x, w, [(2, 0)], trace.labels)
    w, _ = tie(w, bias, [(1, 0)], trace.labels)
    sizes = g.ints_attribute(node, "qkv_hidden_sizes") or [w.shape[1] // 3] * 3
    starts = np.cumsum([0, *sizes])
    projected = ax.assembled([Pick(x, 0), Pick(x, 1), Pick(w, 1)], trace.labels)
    layouts = [take(projected, 2, np.arange(starts[n], starts[n + 1]), trace.labels) for n in range(3)]
    heads = g.int_attribute(node, "num_heads", 1)
    return _heads(node, trace, layouts, 2, heads, heads, None)


def _heads(
    node: ir.Node, trace: Trace, layouts: Sequence[Layout], axis: int, queries: int, keys: int, bias: ir.Value | None
) -> Sequence[Layout] | str:
    labels = trace.labels
    each, shared = labels.fresh(keys), queries // keys
    q, k, v = layouts
    q, _ = tie(q, ruler(each, q.shape[axis] // keys, _WHY, labels), [(axis, 0)], labels)
    k, _ = tie(k, ruler(each, k.shape[axis] // keys, _WHY, labels), [(axis, 0)], labels)
    v, _ = tie(v, ruler(each, v.shape[axis] // keys, _WHY, labels), [(axis, 0)], labels)
    if axis == 1:
        for layout in (q, k, v):
            ax.fix_axis(layout, 3, _WHY, labels)
    if bias is not None:
        trace.freeze(trace.of(bias), "it is added to the scores of every head")
        if len(trace.shapes[bias]) > 2 and trace.shapes[bias][-3] > 1 and queries > 1:
            labels.freeze(each, "its scores have a bias for each head")
    if axis == 2:
        width = ruler(each, shared * v.shape[2] // keys, _WHY, labels)
        return [ax.assembled([Pick(q, 0), Pick(q, 1), Pick(width, 0)], labels)]
    heads = ruler(each, shared, _WHY, labels)
    return [ax.assembled([Pick(q, 0), Pick(heads, 0), Pick(q, 2), ax.fixed_axis(v.shape[3], _WHY)], labels)]


RULES: dict[tuple[str, str], Rule] = {
    ("", "Attention"): attention,
    ("com.microsoft", "MultiHeadAttention"): multi_head_attention,
    ("com.microsoft", "Attention"): merged_attention,
    ("com.microsoft", "GroupQueryAttention"): group_query_attention,
    ("com.microsoft", "RotaryEmbedding"): rotary_embedding,
    ("", "RotaryEmbedding"): rotary_embedding,
}
