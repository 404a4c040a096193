"""float graph [+ samples] -> the same with its weights in few bits: the maker of the weight-only form.

Rounding to nearest needs no samples. GPTQ, the rounding search and AWQ need the second moments of what every layer
reads, collected once and kept for every exclusion that is tried.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import onnx_ir as ir

from deploycompress import model as models
from deploycompress.calibration import Statistics
from deploycompress.flow.gathering import FromSamples
from deploycompress.flow.making import Made
from deploycompress.quantization.awq import rescaled
from deploycompress.quantization.plan import layer_inputs
from deploycompress.quantization.rounding import rounded_weights
from deploycompress.quantization.spec import WeightSpec
from deploycompress.quantization.weight_only import emit_weight_only, needed_opset, plan_weight_only
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
    """

    floats: ir.Model
    target: Target
    spec: WeightSpec
    gather: FromSamples | None = None
    statistics: Statistics | None = None

    def __call__(self, excluded: frozenset[str]) -> Made:
        """See `Maker`."""
        plan = plan_weight_only(self.floats, self.target, self.spec, excluded)
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
            floats, grams, words = rescaled(floats, plan, grams)
            nodes = {
                n: replace(p, reason=f"{p.reason}; {words[n]}" if n in words else p.reason)
                for n, p in plan.nodes.items()
            }
            plan = replace(plan, nodes=nodes)
        codes = rounded_weights(floats, plan, grams)
        return Made(plan, emit_weight_only(floats, plan, codes), self.statistics.samples)
