"""If(True) { a } else { b } ==> the nodes of a, where the If stood.

Exporters write the choice of a shape or of a flag as an If; once shapes are fixed its condition is a constant.
Source: ONNX operator If; names of values must be unique across scopes (`UniqueNames`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes.base import Findings, PassResult


@dataclass(frozen=True)
class InlineBranches:
    """Puts the branch that is always taken in place of its If."""

    exact: ClassVar[bool] = True

    def __call__(self, model: ir.Model) -> PassResult:
        """Rewrites a copy of `model`."""
        found = Findings()
        if not any(_is_decided(node) for node in g.nodes(model)):
            return found.result(model, model)
        after = model.clone()
        named = [value.name for value in dict.fromkeys(g.values(after)) if value.name]
        unique = len(named) == len(set(named))
        for node in g.nodes(after):
            if node.graph is None or not _is_decided(node):
                continue
            name, branch = g.label(node), _branch(node)
            body = node.attributes[branch].as_graph()
            reason = _obstacle(node, body) if unique else "its names are used in other scopes too"
            if reason is None:
                _inline(node, body)
                found.changed(name, f"If whose condition is constant replaced by its {branch}")
            else:
                found.refused(name, reason)
        return found.result(model, after)


def _is_decided(node: ir.Node) -> bool:
    return g.is_op(node, "If") and g.constant(node.inputs[0]) is not None


def _branch(node: ir.Node) -> str:
    condition = g.array(node.inputs[0])
    return "then_branch" if condition is not None and condition.any() else "else_branch"


def _obstacle(node: ir.Node, body: ir.Graph) -> str | None:
    """Why a branch output cannot take the name of the graph output it becomes."""
    for output, inner in zip(node.outputs, body.outputs, strict=True):
        if output.is_graph_output() and (inner.producer() is None or list(body.outputs).count(inner) > 1):
            return "its branch hands an initializer, or one value twice, to a graph output"
    return None


def _inline(node: ir.Node, body: ir.Graph) -> None:
    graph = node.graph
    if not isinstance(graph, ir.Graph):
        raise TypeError(f"{g.label(node)} is not in a graph")
    results = list(body.outputs)
    body.outputs.clear()
    for name, initializer in list(body.initializers.items()):
        del body.initializers[name]
        graph.register_initializer(initializer)
    moved = list(body)
    body.remove(moved)
    graph.insert_before(node, moved)
    for output, inner in zip(node.outputs, results, strict=True):
        if output.is_graph_output():
            inner.type = output.type or inner.type
            inner.shape = inner.shape if output.shape is None else output.shape
            output.replace_all_uses_with(inner, replace_graph_outputs=True)
            inner.name, output.name = output.name, None
        else:
            output.replace_all_uses_with(inner)
    condition = node.inputs[0]
    graph.remove(node, safe=True)
    g.detach(node)
    g.drop_unread([condition])
