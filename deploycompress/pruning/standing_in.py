"""operators of ONNX Runtime -> standard ones whose outputs have the same shapes, so that `onnx` infers through them.

    MultiHeadAttention, FastGelu ...    Y = Identity(X)
    SkipLayerNormalization              Y, sum = Identity(X)
    EmbedLayerNormalization             Y = Gather(word table, ids), lengths = ReduceSum(ids), sum = Y
    Attention                           Y = MatMul(X, columns of W that make values)

For a copy that is never run. Source: ONNX Runtime's contrib operators, "Outputs".
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from deploycompress.passes import graph as g

_SKIPPING = ("SkipLayerNormalization", "SkipSimplifiedLayerNormalization")
_LIKE_FIRST_INPUT = frozenset(
    {"MultiHeadAttention", "GroupQueryAttention", "RotaryEmbedding", "SimplifiedLayerNormalization"}
    | {"BiasGelu", "FastGelu", "QuickGelu", "Gelu", "GroupNormalization"}
)


def stand_in(model: ir.Model) -> None:
    """Replaces them in `model`; a node one of whose other outputs is in use stays."""
    for node in list(model.graph):
        made = _same_shapes(node, model)
        used = [n for n, value in enumerate(node.outputs) if value.uses() or value.is_graph_output()]
        if not made or any(number not in made for number in used):
            continue
        for number, (op_type, inputs, attributes) in made.items():
            if number >= len(node.outputs) or not node.outputs[number].name:
                continue
            old = node.outputs[number]
            new = ir.Value(name=old.name, type=old.type)
            graph = node.graph
            assert isinstance(graph, ir.Graph)
            graph.insert_before(node, ir.Node("", op_type, inputs, attributes, outputs=[new]))
            old.replace_all_uses_with(new, replace_graph_outputs=True)
            old.name = None
        assert node.graph is not None
        node.graph.remove(node, safe=True)


_Made = dict[int, tuple[str, list[ir.Value | None], list[ir.Attr]]]


def _same_shapes(node: ir.Node, model: ir.Model) -> _Made:
    """By number of the output: the operator that gives its shape, its inputs and attributes; nothing for others."""
    first = g.input_at(node, 0)
    same: tuple[str, list[ir.Value | None], list[ir.Attr]] = ("Identity", [first], [])
    if node.op_type in _SKIPPING:
        return {0: same, 3: same}
    if node.op_type == "EmbedLayerNormalization":
        looked_up: tuple[str, list[ir.Value | None], list[ir.Attr]] = ("Gather", [g.input_at(node, 2), first], [])
        axes = g.add_initializer(model, model.graph, "stand_in", np.asarray([1], np.int64))
        counted: tuple[str, list[ir.Value | None], list[ir.Attr]] = (
            "ReduceSum",
            [first, axes],
            [ir.AttrInt64("keepdims", 0)],
        )
        return {0: looked_up, 1: counted, 2: looked_up}
    weight = g.constant(g.input_at(node, 1))
    if node.op_type == "Attention" and node.domain == "com.microsoft" and weight is not None:
        rows, columns = weight.shape.numpy()
        width = (g.ints_attribute(node, "qkv_hidden_sizes") or [columns // 3])[-1]
        values = g.add_initializer(model, model.graph, "stand_in", np.zeros((rows, width), weight.dtype.numpy()))
        return {0: ("MatMul", [first, values], [])}
    return {0: same} if node.op_type in _LIKE_FIRST_INPUT else {}
