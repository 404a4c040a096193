"""float graph + statistics -> int8 plans for any set of excluded nodes; the one whose first layers may stay float."""

from __future__ import annotations

from dataclasses import dataclass, replace

import onnx_ir as ir

from deploycompress import model as models
from deploycompress.calibration import RangeMethod, Statistics
from deploycompress.flow.gathering import Gather
from deploycompress.flow.prefix import best_prefix, layer_times_us, tagged
from deploycompress.measurement.compare import quick_compare
from deploycompress.quantization.candidates import WEIGHTED, key
from deploycompress.quantization.plan import plan, required_tensors
from deploycompress.quantization.qdq import emit_qdq
from deploycompress.quantization.spec import QuantPlan
from deploycompress.runtime.session import Feed, Session, SessionConfig
from deploycompress.targets import Target


@dataclass
class Planner:
    """Plans of one model for any exclusion; asks for statistics again where a plan reads tensors not seen before.

    Attributes:
        floats: The float graph.
        target: The device whose rules decide.
        method: How ranges are chosen.
        gather: Where statistics come from.
        config: How sessions are opened.
        statistics: Everything seen so far; None before the first plan.
    """

    floats: ir.Model
    target: Target
    method: RangeMethod
    gather: Gather
    config: SessionConfig
    statistics: Statistics | None = None

    def plan(self, excluded: frozenset[str], model: ir.Model | None = None) -> QuantPlan:
        """The plan that leaves `excluded` float, for `model` where it differs from `floats` in node names alone."""
        seen = self.statistics
        wanted = [n for n in required_tensors(self.floats, self.target, excluded) if seen is None or n not in seen]
        if seen is None or wanted:
            more = self.gather(wanted, None if seen is None else seen.samples)
            more.require_finite()
            seen = more if seen is None else replace(seen, tensors={**seen.tensors, **more.tensors})
            self.statistics = seen
        return plan(model or self.floats, self.target, seen, method=self.method, exclude=excluded)


def release_prefix(
    planner: Planner, excluded: frozenset[str], chosen: QuantPlan, quantized: ir.Model, feed: Feed
) -> tuple[QuantPlan, ir.Model, tuple[str, ...]]:
    """Leaves the first layers float where that is measured faster.

    Args:
        planner: Makes the plans.
        excluded: First output names of nodes that are float already.
        chosen: The plan that leaves only those float.
        quantized: The model it gives.
        feed: What is timed.
    """
    config = planner.config
    marked = tagged(planner.floats)
    layers = {node.name: key(node) for node in marked.graph if node.op_type in WEIGHTED}
    int8 = [str(tag) for tag, name in layers.items() if name in chosen.nodes and chosen.nodes[name].form == "int8"]
    float_us = layer_times_us(tagged(planner.floats, tensors=True), feed, config)
    int8_us = layer_times_us(emit_qdq(marked, planner.plan(excluded, marked)), feed, config)
    count = best_prefix(int8, float_us, int8_us)
    if count in (0, len(int8)):
        return chosen, quantized, ()
    prefix = tuple(layers[tag] for tag in int8[:count])
    released = planner.plan(excluded | frozenset(prefix))
    candidate = emit_qdq(planner.floats, released)
    sessions = [
        Session(models.serialize(made), config, weights_dir=models.weights_dir(made)) for made in (quantized, candidate)
    ]
    if quick_compare(sessions[0], sessions[1], feed).verdict != "FASTER":
        return chosen, quantized, ()
    reasons = {
        name: replace(
            released.nodes[name],
            reason=f"measured: {float_us[tag]:.0f} us float, {int8_us[tag]:.0f} us int8, at the start of the net",
        )
        for tag, name in zip(int8, prefix, strict=False)
    }
    return replace(released, nodes={**released.nodes, **reasons}), candidate, prefix
