"""graph outputs ==> those of them that are kept, and what they need.

For models exported with outputs nobody reads (a pooler, hidden states, a cache). Exact for the outputs that stay.
Source: ONNX IR specification, "Graphs".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from deploycompress.passes.base import Findings, PassResult
from deploycompress.passes.dead_code import RemoveDeadCode


@dataclass(frozen=True)
class KeepOutputs:
    """Takes the other outputs off the graph, in the order of the model.

    Attributes:
        names: Outputs to keep; a name the model does not have keeps nothing.
    """

    exact: ClassVar[bool] = True
    names: tuple[str, ...] = ()

    def __call__(self, model: ir.Model) -> PassResult:
        """Rewrites a copy of `model`; refuses to take off every output."""
        found = Findings()
        outputs = model.graph.outputs
        if not any(value.name in self.names for value in outputs):
            found.refused(model.graph.name or "graph", f"none of its outputs is {' or '.join(self.names)}")
            return found.result(model, model)
        after = model.clone()
        for value in tuple(after.graph.outputs):
            if value.name not in self.names:
                after.graph.outputs.remove(value)
                found.changed(value.name or "", "output taken off")
        tidied = RemoveDeadCode()(after)
        found.changes += tidied.changes if found.changes else ()
        return found.result(model, tidied.model)
