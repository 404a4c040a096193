"""y1 = f(x), y2 = f(x) ==> y2 is y1, within one graph or one control-flow body.

Equal means: same operator, same inputs, same attributes, same outputs in use. Random operators and control flow are
left alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes.base import Findings, PassResult

_LARGEST_TENSOR_COMPARED_BYTES = 1024


@dataclass(frozen=True)
class ShareSubexpressions:
    """Computes equal expressions once."""

    exact: ClassVar[bool] = True

    def __call__(self, model: ir.Model) -> PassResult:
        """Rewrites a copy of `model`."""
        found = Findings()
        after = model.clone()
        for graph in after.graphs():
            first_of: dict[tuple[object, ...], ir.Node] = {}
            for node in graph:
                if g.has_subgraph(node) or node.op_type in g.NON_DETERMINISTIC or g.is_op(node, "Dropout"):
                    continue
                first = first_of.setdefault(_key(node), node)
                if first is not node:
                    _merge(graph, node, first, found)
        return found.result(model, after)


def _merge(graph: ir.Graph, node: ir.Node, first: ir.Node, found: Findings) -> None:
    name, same_as = g.label(node), g.label(first)
    if len(node.outputs) == 1:
        reason = g.bypass(node, first.outputs[0])
    elif any(output.is_graph_output() for output in node.outputs):
        reason = "one of its outputs is a graph output"
    else:
        reason = None
        for output, kept in zip(node.outputs, first.outputs, strict=True):
            output.replace_all_uses_with(kept)
        graph.remove(node, safe=True)
    if reason is None:
        found.changed(name, f"{node.op_type} equal to {same_as}, computed once")
    else:
        found.refused(name, f"equal to {same_as}, but {reason}")


def _key(node: ir.Node) -> tuple[object, ...]:
    """Equal for two nodes of one graph exactly where they compute the same values."""
    return (
        node.op_identifier(),
        tuple(None if value is None else id(value) for value in node.inputs),
        tuple(bool(output.name) for output in node.outputs),
        tuple(sorted((name, _attribute_key(attribute)) for name, attribute in node.attributes.items())),
    )


def _attribute_key(attribute: ir.Attr) -> str:
    if attribute.is_ref():
        return f"ref {attribute.ref_attr_name}"
    if attribute.type == ir.AttributeType.TENSOR:
        tensor = attribute.as_tensor()
        if tensor.nbytes > _LARGEST_TENSOR_COMPARED_BYTES or tensor.dtype == ir.DataType.STRING:
            return f"tensor {id(tensor)}"
        return f"{tensor.dtype} {tuple(tensor.shape.numpy())} {tensor.tobytes()!r}"
    if attribute.type in (
        ir.AttributeType.INT,
        ir.AttributeType.INTS,
        ir.AttributeType.STRING,
        ir.AttributeType.STRINGS,
    ):
        return f"{attribute.type} {attribute.value!r}"
    if attribute.type in (ir.AttributeType.FLOAT, ir.AttributeType.FLOATS):
        return f"{attribute.type} {attribute.value!r}"
    return f"{attribute.type} {id(attribute)}"
