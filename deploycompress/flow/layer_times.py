"""float graph, int8 graph -> the time of every layer in both, profiled side by side, and what conversions cost.

Layers are followed through ONNX Runtime's fusions by their names: a quantized layer takes its name from the node; a
float one that swallowed its activation may take it from the activation.
"""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import onnx_ir as ir

from deploycompress import model as models
from deploycompress.quantization.candidates import clamp_behind
from deploycompress.runtime.session import Feed, NodeTime, Session, SessionConfig

_BUDGET_S = 3.0  # of warm-up, and again of profiled runs, for both
_FEWEST_RUNS, _MOST_RUNS = 5, 30
_TAG = re.compile(r"tagged\d{6}")
_CONVERSIONS = ("QuantizeLinear", "DequantizeLinear")


@dataclass
class LayerTimes:
    """Median kernel times of one graph.

    Attributes:
        by_tag: Microseconds by tag; a tag whose node fused into another one is absent.
        elements: Number of output elements by tag.
        conversions: Microseconds and elements of every QuantizeLinear and DequantizeLinear, by node name.
    """

    by_tag: dict[str, float] = field(default_factory=dict)
    elements: dict[str, int] = field(default_factory=dict)
    conversions: dict[str, tuple[float, int]] = field(default_factory=dict)

    def add(self, node: NodeTime) -> None:
        """Counts one profiled node."""
        count = math.prod(node.outputs[0]) if node.outputs else 0
        found = _TAG.search(node.name)
        if node.op_type in _CONVERSIONS:
            self.conversions[node.name] = (node.time_us, count)
        elif found is not None:
            tag = found.group()
            self.by_tag[tag] = self.by_tag.get(tag, 0.0) + node.time_us
            self.elements[tag] = max(self.elements.get(tag, 0), count)


def tags(floats: ir.Model) -> dict[str, str]:
    """Tag by node name, for every node in order of the graph; node names must be unique."""
    return {str(node.name): f"tagged{position:06d}" for position, node in enumerate(floats.graph)}


def tagged(model: ir.Model, tags: Mapping[str, str], *, floats: bool = False) -> ir.Model:
    """A copy whose nodes of these names carry tags instead.

    Args:
        model: The graph.
        tags: Tag by node name.
        floats: Tag outputs too, and a Relu or Clip behind a node like the node itself: in a float graph they fuse.
    """
    copy = model.clone()
    for node in list(copy.graph):
        tag = tags.get(node.name or "")
        if tag is None:
            continue
        node.name = tag
        if not floats:
            continue
        clamp = clamp_behind(node)
        node.outputs[0].name = f"{tag}_out"
        if clamp is not None:
            tags = {**tags, str(clamp.name): f"{tag}_clamp"}
    return copy


def profiled(floats: ir.Model, int8: ir.Model, feed: Feed, config: SessionConfig) -> tuple[LayerTimes, LayerTimes]:
    """Runs both in turn under the profiler, as often as the budget allows."""
    runs = 0
    with tempfile.TemporaryDirectory(prefix="deploycompress-") as folder:
        pair: list[Session] = []
        for model in (floats, int8):
            place = Path(folder) / str(len(pair))
            place.mkdir()
            weights_dir = models.weights_dir(model)
            pair.append(Session(models.serialize(model), config, weights_dir=weights_dir, profile_dir=place))
        for session in pair:
            session.run(feed)
        started = perf_counter()
        while runs < _FEWEST_RUNS or (runs < _MOST_RUNS and perf_counter() - started < _BUDGET_S):
            for session in pair if runs % 2 else reversed(pair):
                session.run(feed)
            runs += 1
        found = (LayerTimes(), LayerTimes())
        for times, session in zip(found, pair, strict=True):
            for node in session.profile().nodes:
                times.add(node)
    return found
