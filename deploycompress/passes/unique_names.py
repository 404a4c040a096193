"""a value name used twice (a body shadows an outer name, two bodies share one) ==> one name a value.

Rewrites move values between scopes; with unique names none of them can be captured by mistake. Graph inputs and
outputs keep their names. Source: ONNX IR specification, "Value names and scopes" (SSA across nested graphs).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes.base import Findings, PassResult


@dataclass(frozen=True)
class UniqueNames:
    """Renames values of control-flow bodies whose name occurs elsewhere in the model."""

    exact: ClassVar[bool] = True

    def __call__(self, model: ir.Model) -> PassResult:
        """Rewrites a copy of `model`."""
        found = Findings()
        if not any(count > 1 for count in _names(model).values()):
            return found.result(model, model)
        after = model.clone()
        taken = set(_names(after))
        seen: set[str] = set()
        for graph in after.graphs():
            for value in _own_values(graph):
                name = value.name
                if not name:
                    continue
                if name in seen:
                    counter = 1
                    while f"{name}_{counter}" in taken:
                        counter += 1
                    value.name = f"{name}_{counter}"
                    taken.add(value.name)
                    found.changed(name, f"renamed to {value.name} in body {graph.name or '(unnamed)'}")
                seen.add(value.name or "")
        return found.result(model, after)


def _own_values(graph: ir.Graph) -> list[ir.Value]:
    """Values a graph defines: each once, inputs first."""
    own = (*graph.inputs, *graph.initializers.values(), *(o for node in graph for o in node.outputs))
    return list(dict.fromkeys(own))


def _names(model: ir.Model) -> Counter[str]:
    return Counter(v.name for v in dict.fromkeys(g.values(model)) if v.name)
