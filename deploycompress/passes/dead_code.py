"""node or initializer that no output depends on ==> nothing.

Graph inputs stay even where nothing reads them: the signature is a promise to the caller.
Source: ONNX IR specification, "Graphs"; the node sweep is that of onnx-ir (unused optional outputs included).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from deploycompress.passes import graph as g
from deploycompress.passes.base import Findings, PassResult


@dataclass(frozen=True)
class RemoveDeadCode:
    """Removes nodes and initializers without a path to an output, in control-flow bodies too."""

    exact: ClassVar[bool] = True

    def __call__(self, model: ir.Model) -> PassResult:
        """Rewrites a copy of `model`."""
        found = Findings()
        if not any(_is_unread(value) for value in g.values(model)):
            return found.result(model, model)
        after = model.clone()
        defined = {value: (value.name, _kind(value)) for value in g.values(after) if value.name}
        while _sweep(after):
            pass
        left = set(g.values(after))
        for value, (name, kind) in defined.items():
            if value not in left and name:
                found.changed(name, f"{kind} removed: nothing depends on it")
        return found.result(model, after)


def _is_unread(value: ir.Value) -> bool:
    return bool(value.name) and not (value.uses() or value.is_graph_output() or value.is_graph_input())


def _sweep(model: ir.Model) -> bool:
    """Removes what nothing reads; whether control flow went, whose bodies may have been the last to read something."""
    control_flow = [node for node in g.nodes(model) if g.has_subgraph(node)]
    RemoveUnusedNodesPass()(model)
    for graph in model.graphs():
        for name, value in tuple(graph.initializers.items()):
            if not (value.uses() or value.is_graph_output() or value.is_graph_input()):
                del graph.initializers[name]
    left = set(g.nodes(model))
    removed = [node for node in control_flow if node not in left]
    for node in removed:
        g.detach(node)
    return bool(removed)


def _kind(value: ir.Value) -> str:
    producer = value.producer()
    return "initializer" if producer is None else f"output of {producer.op_type}"
