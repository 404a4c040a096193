"""symbolic dimension ==> integer, wherever the symbol stands.

Exact for feeds of that shape, and for those alone. Source: ONNX IR specification, "Static tensor shapes".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes.base import Findings, PassResult


@dataclass(frozen=True)
class FixDimensions:
    """Gives symbols a length for good.

    Attributes:
        lengths: (symbol, length) pairs.
    """

    exact: ClassVar[bool] = True
    lengths: tuple[tuple[str, int], ...]

    def __call__(self, model: ir.Model) -> PassResult:
        """Rewrites a copy of `model`."""
        found = Findings()
        after = model.clone()
        lengths = dict(self.lengths)
        for value in dict.fromkeys(g.values(after)):
            if value.shape is None:
                continue
            dims = [lengths.get(d.value or "", d) if isinstance(d, ir.SymbolicDim) else d for d in value.shape]
            if dims != list(value.shape):
                value.shape = ir.Shape(dims)
                found.changed(value.name or "", f"shape fixed to {value.shape}")
        return found.result(model, after)


def symbols(model: ir.Model) -> tuple[str, ...]:
    """Names of the symbolic dimensions of the graph inputs, sorted."""
    dims = (d for value in model.graph.inputs if value.shape is not None for d in value.shape)
    return tuple(sorted({d.value for d in dims if isinstance(d, ir.SymbolicDim) and d.value}))
