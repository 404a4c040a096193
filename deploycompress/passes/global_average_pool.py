"""ReduceMean over every spatial axis, axes kept ==> GlobalAveragePool.

Int8 chains have a kernel for the latter and none for the former.
Source: ONNX operators ReduceMean (axes: attribute up to opset 17, input from 18), GlobalAveragePool.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes.base import Findings, PassResult
from deploycompress.passes.shapes import Shapes, infer


@dataclass(frozen=True)
class ReduceMeanToGlobalAveragePool:
    """Writes a mean over all spatial axes as the pool it is."""

    exact: ClassVar[bool] = True

    def __call__(self, model: ir.Model) -> PassResult:
        """Rewrites a copy of `model`."""
        found = Findings()
        if not g.contains(model, "ReduceMean"):
            return found.result(model, model)
        after = model.clone()
        shapes = infer(after)
        for node in g.nodes(after):
            if not g.is_op(node, "ReduceMean"):
                continue
            reason = _obstacle(node, shapes)
            if reason is not None:
                found.refused(g.label(node), reason)
                continue
            graph = node.graph
            pool = ir.Node("", "GlobalAveragePool", [node.inputs[0]], num_outputs=1, name=node.name)
            old, new = node.outputs[0], pool.outputs[0]
            new.type, new.shape = old.type, old.shape
            assert isinstance(graph, ir.Graph)
            graph.insert_before(node, pool)
            name = old.name
            old.replace_all_uses_with(new, replace_graph_outputs=True)
            old.name, new.name = None, name
            graph.remove(node, safe=True)
            found.changed(name or "", "ReduceMean over the spatial axes written as GlobalAveragePool")
        return found.result(model, after)


def _obstacle(node: ir.Node, shapes: Shapes) -> str | None:
    rank = shapes.rank(node.inputs[0])
    axes = g.ints_attribute(node, "axes")
    if axes is None:
        data = g.array(g.input_at(node, 1))
        axes = None if data is None else data.tolist()
    if rank is None:
        return "the rank of its input is unknown"
    if axes is None:
        return "its axes are not constant"
    if rank < 4 or sorted(axis % rank for axis in axes) != list(range(2, rank)):
        return f"it reduces axes {axes} of {rank}, not every spatial axis of an image or volume"
    if not g.int_attribute(node, "keepdims", 1):
        return "it drops the axes it reduces"
    if shapes.dtype(node.inputs[0]) not in (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE):
        return "it is not a mean of floating-point values"
    return None
