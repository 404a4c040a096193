"""float graph + samples -> int8 plans for any set of excluded nodes, and the one whose first layers may stay float."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import onnx_ir as ir

from deploycompress import model as models
from deploycompress.calibration import RangeMethod, Statistics, TensorStatistics, collect
from deploycompress.data import Samples
from deploycompress.flow.prefix import best_prefix, layer_times_us, tagged
from deploycompress.measurement.compare import quick_compare
from deploycompress.quantization.candidates import WEIGHTED, key
from deploycompress.quantization.plan import channel_axes, plan, required_tensors
from deploycompress.quantization.qdq import emit_qdq
from deploycompress.quantization.spec import QuantPlan
from deploycompress.records.progress import Track
from deploycompress.runtime.session import Feed, Session, SessionConfig
from deploycompress.targets import Target


@dataclass(frozen=True)
class Planner:
    """Plans of one model for any exclusion; runs the samples again where a plan reads tensors not seen before."""

    floats: ir.Model
    target: Target
    method: RangeMethod
    samples: Samples
    config: SessionConfig
    track: Track
    seen: dict[str, TensorStatistics] = field(default_factory=dict)

    def plan(self, excluded: frozenset[str], model: ir.Model | None = None) -> QuantPlan:
        """The plan that leaves `excluded` float, for `model` where it differs from `floats` in node names alone."""
        wanted = [n for n in required_tensors(self.floats, self.target, excluded) if n not in self.seen]
        if wanted or not self.seen:
            self.seen.update(self._collect(wanted))
        statistics = Statistics(self.seen, len(self.samples))
        return plan(model or self.floats, self.target, statistics, method=self.method, exclude=excluded)

    def _collect(self, tensors: Sequence[str]) -> Statistics:
        statistics = collect(
            self.floats,
            tensors,
            (sample.feed for sample in self.samples),
            weights_dir=models.weights_dir(self.floats),
            config=self.config,
            channel_axes=channel_axes(self.floats),
            track=lambda items, description, total=None: self.track(items, description, total or len(self.samples)),
        )
        statistics.require_finite()
        return statistics


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
