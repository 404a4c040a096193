"""float graph [+ samples] -> float16 or bfloat16 graph: the maker of the half-precision forms.

Where the target computes in half, ranges are measured on the samples (or on the random feeds where there are none), and
what would overflow stays float32. Where it only stores weights in half, nothing can overflow and nothing is measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from deploycompress import model as models
from deploycompress.calibration import Statistics, collect
from deploycompress.flow.gathering import FromSamples
from deploycompress.flow.making import Made
from deploycompress.passes import shapes
from deploycompress.quantization.half import MIN_OPSET, computes, plan_half
from deploycompress.quantization.half_emit import emit_half
from deploycompress.quantization.spec import Bits, Width
from deploycompress.runtime.session import Feed, SessionConfig
from deploycompress.targets import Target


@dataclass
class Half:
    """Half precision; inputs and outputs of the model stay float32.

    Attributes:
        floats: The float graph.
        target: Its providers decide whether half is computed in or stored in.
        dtype: FLOAT16 or BFLOAT16.
        feeds: What ranges are measured on where there are no samples.
        config: How sessions are opened.
        gather: Runs the graph on samples, where there are any.
        statistics: The ranges seen; None before the first call.
    """

    floats: ir.Model
    target: Target
    dtype: ir.DataType
    feeds: tuple[Feed, ...]
    config: SessionConfig
    gather: FromSamples | None = None
    statistics: Statistics | None = None

    @property
    def wider(self) -> tuple[Bits, ...]:
        """See `Maker`."""
        return ()

    def __call__(self, widths: Mapping[str, Width]) -> Made:
        """See `Maker`."""
        floats = models.raise_opset(self.floats, MIN_OPSET)
        compute = computes(self.target)
        if compute and self.statistics is None and self.dtype == ir.DataType.FLOAT16:
            self.statistics = self._measured()
        seen = self.statistics
        plan = plan_half(floats, self.target, self.dtype, seen, frozenset(widths))
        used = 0 if seen is None or self.gather is None else seen.samples
        return Made(plan, emit_half(floats, plan, self.dtype, compute=compute), used)

    def _measured(self) -> Statistics:
        """Ranges of every float32 tensor of the main graph."""
        types = shapes.infer(self.floats).dtypes
        made = (*self.floats.graph.inputs, *(value for node in self.floats.graph for value in node.outputs))
        names = [str(value.name) for value in made if types.get(value) == ir.DataType.FLOAT]
        if self.gather is not None:
            return self.gather(names)
        return collect(self.floats, names, self.feeds, weights_dir=models.weights_dir(self.floats), config=self.config)
