"""Constant node ==> initializer of the same name, in the graph or body where the node stood.

Initializers can be mapped, stored outside the file and shared; a Constant node can not, and costs a node to read.
Source: ONNX operator `Constant` (opset 1-25: value, value_float(s), value_int(s), value_string(s), sparse_value).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes.base import Findings, PassResult


@dataclass(frozen=True)
class LiftConstants:
    """Turns Constant nodes into initializers, in control-flow bodies too."""

    exact: ClassVar[bool] = True

    def __call__(self, model: ir.Model) -> PassResult:
        """Rewrites a copy of `model`."""
        found = Findings()
        if not g.contains(model, "Constant"):
            return found.result(model, model)
        after = model.clone()
        for node in g.nodes(after):
            if not g.is_op(node, "Constant") or node.graph is None:
                continue
            output = node.outputs[0]
            tensor = _tensor(node)
            if isinstance(tensor, str):
                found.refused(g.label(node), tensor)
            elif output.is_graph_output():
                found.refused(g.label(node), "it is a graph output")
            elif output.name and isinstance(node.graph, ir.Graph):
                _lift(node.graph, node, tensor)
                found.changed(output.name or "", "Constant node became an initializer")
        return found.result(model, after)


def _lift(graph: ir.Graph, node: ir.Node, tensor: ir.TensorProtocol) -> None:
    output = node.outputs[0]
    initializer = ir.Value(
        name=output.name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(tensor.shape.numpy()), const_value=tensor
    )
    output.replace_all_uses_with(initializer)
    graph.remove(node, safe=True)
    graph.register_initializer(initializer)


def _tensor(node: ir.Node) -> ir.TensorProtocol | str:
    """The tensor a Constant node holds, or the reason it is left alone."""
    if len(node.attributes) != 1:
        return "the Constant node does not have exactly one attribute"
    name, attribute = next(iter(node.attributes.items()))
    if attribute.is_ref():
        return "its value is a parameter of a function"
    output = node.outputs[0].name
    match name:
        case "value":
            return attribute.as_tensor()
        case "value_float":
            return ir.tensor(np.float32(attribute.as_float()), name=output)
        case "value_floats":
            return ir.tensor(np.asarray(attribute.as_floats(), np.float32), name=output)
        case "value_int":
            return ir.tensor(np.int64(attribute.as_int()), name=output)
        case "value_ints":
            return ir.tensor(np.asarray(attribute.as_ints(), np.int64), name=output)
    return f"attribute {name} has no dense tensor form"
