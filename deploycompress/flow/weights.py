"""float graph [+ samples] -> the same with its weights in few bits, in one file of several widths where asked.

Rounding to nearest needs no samples. GPTQ, the rounding search and AWQ need the second moments of what every layer
reads, collected once; and what was rounded is kept by its content, so that a search that changes the width of one layer
rounds that one alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import onnx_ir as ir

from deploycompress import model as models
from deploycompress.calibration import Statistics
from deploycompress.flow.gathering import FromSamples
from deploycompress.flow.making import Made
from deploycompress.quantization.affine import QuantizedTensor
from deploycompress.quantization.awq import Readers, Scale, rescaled
from deploycompress.quantization.plan import layer_inputs
from deploycompress.quantization.rounding import rounded_weights
from deploycompress.quantization.spec import FLOAT, Bits, WeightSpec, Width
from deploycompress.quantization.weight_only import emit_weight_only, needed_opset, plan_weight_only, weight_spec
from deploycompress.targets import Target


@dataclass
class Weights:
    """Weights in few bits; activations stay float.

    Attributes:
        floats: The float graph, of any opset that can be raised to one that holds the codes.
        target: Its opset limit decides what can be stored.
        spec: How weights are stored.
        gather: Runs the graph on samples; None where weights are rounded to nearest.
        statistics: The second moments seen so far; None before the first call.
        codes: Those chosen so far (see `rounded_weights`).
        scales: Those chosen so far (see `rescaled`).
    """

    floats: ir.Model
    target: Target
    spec: WeightSpec
    gather: FromSamples | None = None
    statistics: Statistics | None = None
    codes: dict[bytes, QuantizedTensor] = field(default_factory=dict)
    scales: dict[Readers, Scale] = field(default_factory=dict)

    @property
    def wider(self) -> tuple[Bits, ...]:
        """See `Maker`."""
        widths: tuple[Bits, ...] = (4, 8)
        return tuple(bits for bits in widths if bits > self.spec.bits)

    def __call__(self, widths: Mapping[str, Width]) -> Made:
        """See `Maker`."""
        excluded = frozenset(name for name, width in widths.items() if width == FLOAT)
        promoted = {
            name: weight_spec(width, self.spec.block, rounding=self.spec.rounding)
            for name, width in widths.items()
            if width != FLOAT
        }
        plan = plan_weight_only(self.floats, self.target, self.spec, excluded, promoted)
        floats = models.raise_opset(self.floats, needed_opset(self.spec))
        if self.spec.rounding == "nearest":
            return Made(plan, emit_weight_only(floats, plan))
        if self.statistics is None:
            layers = layer_inputs(self.floats)
            self.statistics = (
                Statistics({}, 0) if self.gather is None else replace(self.gather, grams=layers, until_settled=None)([])
            )
        grams = dict(self.statistics.grams)
        if self.spec.rounding == "awq":
            floats, grams, words = rescaled(floats, plan, grams, self.scales)
            nodes = {
                n: replace(p, reason=f"{p.reason}; {words[n]}" if n in words else p.reason)
                for n, p in plan.nodes.items()
            }
            plan = replace(plan, nodes=nodes)
        codes = rounded_weights(floats, plan, grams, self.codes)
        return Made(plan, emit_weight_only(floats, plan, codes), self.statistics.samples)
