"""IR version 3: initializer that is also a graph input ==> IR version 4: plain initializer.

Before IR version 4 every initializer had to be listed as a graph input as well. ONNX Runtime never lets a caller override
one in such a file, so taking it out of the inputs changes nothing but what later passes may fold. From version 4 on
the same spelling means "default value, may be overridden", and is left alone.

Source: ONNX IR specification, "Graphs" (initializer and input of the same name); ONNX Runtime `Graph::CanOverrideInitializer`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from deploycompress.passes.base import Findings, PassResult
from deploycompress.passes.graph import INITIALIZERS_ARE_CONSTANT


@dataclass(frozen=True)
class FreezeInitializers:
    """Takes initializers out of the graph inputs of files older than IR version 4, and stamps version 4."""

    exact: ClassVar[bool] = True

    def __call__(self, model: ir.Model) -> PassResult:
        """Rewrites a copy of `model`; refuses overridable initializers of newer files."""
        found = Findings()
        overridable = [v for v in model.graph.initializers.values() if v.is_graph_input()]
        if model.ir_version >= INITIALIZERS_ARE_CONSTANT:
            for value in overridable:
                found.refused(value.name or "", "it is a default that the caller may override (IR version 4 or newer)")
            return found.result(model, model)
        after = model.clone()
        found.changed(model.graph.name or "graph", f"IR version {model.ir_version} -> {INITIALIZERS_ARE_CONSTANT}")
        after.ir_version = INITIALIZERS_ARE_CONSTANT
        for graph in after.graphs():
            kept = [v for v in graph.inputs if not v.is_initializer()]
            for value in graph.inputs:
                if value.is_initializer():
                    found.changed(value.name or "", "initializer taken out of the graph inputs")
            graph.inputs.clear()
            graph.inputs.extend(kept)
        return found.result(model, after)
