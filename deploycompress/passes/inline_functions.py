"""call of a model-local function ==> its body, in place; the function is removed.

Passes and quantization look at nodes; a function hides them. ONNX Runtime inlines at load as well.
Source: ONNX IR specification, "Functions"; the inliner is that of onnx-ir.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir
from onnx_ir.passes.common import InlinePass

from deploycompress.passes import graph as g
from deploycompress.passes.base import Findings, PassResult


@dataclass(frozen=True)
class InlineFunctions:
    """Inlines every model-local function whose operator set versions are those of the model."""

    exact: ClassVar[bool] = True

    def __call__(self, model: ir.Model) -> PassResult:
        """Rewrites a copy of `model`; refuses where inlining would change the meaning of an operator."""
        found = Findings()
        if not model.functions:
            return found.result(model, model)
        reason = _obstacle(model)
        if reason is not None:
            found.refused(*reason)
            return found.result(model, model)
        after = model.clone()
        for node in g.nodes(after):
            if node.op_identifier() in after.functions:
                found.changed(g.label(node), f"call of {node.domain}::{node.op_type} inlined")
        InlinePass()(after)
        return found.result(model, after)


def _obstacle(model: ir.Model) -> tuple[str, str] | None:
    """Name of the first function that stands in the way and why; all or none are inlined."""
    imports = {_domain(d): v for d, v in model.opset_imports.items()}
    for function in model.functions.values():
        for domain, version in function.opset_imports.items():
            have = imports.setdefault(_domain(domain), version)
            if have != version:
                names = f"operator set {domain or 'ai.onnx'} {version}, the model uses {have}"
                return function.name, f"the function is written for {names}"
    for node in (*g.nodes(model), *(n for f in model.functions.values() for n in f.all_nodes())):
        if node.op_identifier() in model.functions and g.has_subgraph(node):
            return g.label(node), "the call passes a graph as a parameter"
    return None


def _domain(domain: str) -> str:
    return "" if domain in g.STANDARD_DOMAINS else domain
