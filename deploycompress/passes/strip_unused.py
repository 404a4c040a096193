"""operator set import or model-local function that no node uses ==> nothing.

Unused imports make other tools refuse a file (they must know every domain it names); ONNX Runtime's own
pre-processing writes six of them.
Source: ONNX IR specification, "Models" (opset_import, functions).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes.base import Findings, PassResult


@dataclass(frozen=True)
class StripUnused:
    """Removes unused model-local functions, then unused operator set imports (the standard one always stays)."""

    exact: ClassVar[bool] = True

    def __call__(self, model: ir.Model) -> PassResult:
        """Rewrites a copy of `model`."""
        found = Findings()
        after = model.clone()
        called = _called(after)
        for identifier in model.functions:
            if identifier not in called:
                del after.functions[identifier]
                found.changed(identifier[1], "function removed: nothing calls it")
        used = {node.domain for node in g.nodes(after)}
        for function in after.functions.values():
            used |= {function.domain, *(node.domain for node in function.all_nodes())}
        for domain, version in model.opset_imports.items():
            if domain not in g.STANDARD_DOMAINS and domain not in used:
                del after.opset_imports[domain]
                found.changed(domain, f"import of operator set {domain} {version} removed: no node uses it")
        return found.result(model, after)


def _called(model: ir.Model) -> set[ir.OperatorIdentifier]:
    """Functions that the graph calls, directly or through another function."""
    called: set[ir.OperatorIdentifier] = set()
    todo = g.nodes(model)
    while todo:
        identifier = todo.pop().op_identifier()
        if identifier in model.functions and identifier not in called:
            called.add(identifier)
            todo.extend(model.functions[identifier].all_nodes())
    return called
