"""int8 plan -> how many of the first layers are faster left float, from the time of each layer in both forms.

The first layers of a convolutional net have few channels and large images: there the 8-bit kernels lose (a 3-channel
stem cannot fill a 4-byte dot product), and each also pays for the conversion of a large input. Keeping the first k
layers float costs one conversion in a later, smaller place. k minimises

    sum_{i < k} float_i + sum_{i >= k} int8_i

Only prefixes are considered: a float layer between two 8-bit ones pays two conversions, and ONNX Runtime quantizes its
weights on its own, per tensor (transformer WeightBiasQuantization, ONNX Runtime 1.31).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from time import perf_counter

import numpy as np
import onnx_ir as ir

from deploycompress import model as models
from deploycompress.flow.executed import execute
from deploycompress.quantization.candidates import WEIGHTED, clamp_behind
from deploycompress.runtime.session import Feed, Session, SessionConfig

_BUDGET_S = 2.0  # of warm-up, and again of profiled runs
_FEWEST_RUNS, _MOST_RUNS = 5, 30
_TAG = re.compile(r"weighted\d{6}")


def tags(floats: ir.Model) -> dict[str, str]:
    """Tag by node name, for every node with weights in order of the graph; node names must be unique."""
    named = [str(node.name) for node in floats.graph if node.op_type in WEIGHTED]
    return {name: f"weighted{position:06d}" for position, name in enumerate(named)}


def tagged(model: ir.Model, tags: Mapping[str, str], *, tensors: bool = False) -> ir.Model:
    """A copy whose nodes of these names carry tags, which ONNX Runtime's fusions keep as part of the fused name.

    A quantized layer takes its name from the node; a float one that swallowed its activation from the activation's
    output, so with `tensors` outputs and clamps behind the nodes are renamed too (graph outputs as well).
    """
    copy = model.clone()
    for node in copy.graph:
        tag = tags.get(node.name or "")
        if tag is None:
            continue
        node.name = tag
        if tensors:
            node.outputs[0].name = f"{tag}_out"
            clamp = clamp_behind(node)
            if clamp is not None:
                clamp.outputs[0].name = f"{tag}_clamped"
    return copy


def layer_times_us(model: ir.Model, feed: Feed, config: SessionConfig) -> dict[str, float]:
    """Median kernel time by tag; a tag whose node fused into another one is absent."""
    times: dict[str, float] = {}
    for node, time_us in execute(model, feed, config, runs=_affordable_runs(model, feed, config)).times_us.items():
        match = _TAG.search(node.name or "")
        if match is not None:
            times[match.group()] = times.get(match.group(), 0.0) + time_us
    return times


def _affordable_runs(model: ir.Model, feed: Feed, config: SessionConfig) -> int:
    """As many runs as fit in the budget, between `_FEWEST_RUNS` and `_MOST_RUNS`."""
    session = Session(models.serialize(model), config, weights_dir=models.weights_dir(model))
    session.run(feed)
    started = perf_counter()
    session.run(feed)
    return int(min(_MOST_RUNS, max(_FEWEST_RUNS, _BUDGET_S / (perf_counter() - started))))


def best_prefix(layers: Sequence[str], float_us: Mapping[str, float], int8_us: Mapping[str, float]) -> int:
    """The number of layers to leave float, 0 where all are best in 8 bits or a time is missing in front.

    Args:
        layers: Tags of the 8-bit layers in topological order.
        float_us: Time of each in the float model.
        int8_us: Time of each in the quantized model.
    """
    known = 0
    while known < len(layers) and layers[known] in float_us and layers[known] in int8_us:
        known += 1
    gain = np.cumsum([int8_us[layer] - float_us[layer] for layer in layers[:known]])
    if known == 0 or gain.max() <= 0:
        return 0
    return int(np.argmax(gain)) + 1
