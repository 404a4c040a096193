"""float graph, int8 graph -> the time of every layer in both, profiled side by side, and what conversions cost.

Layers are followed through ONNX Runtime's fusions by their names: a quantized layer takes its name from the node; a
float one that swallowed its activation may take it from the activation. What the runtime adds by itself, changes of
layout above all, belongs to the layer that lies nearest in the executed graph.

A time is the shortest of up to 300 runs of each graph in turn. Measured on two cores shared by several processes, over
12 repetitions, standard deviation of the ratio int8 to float of all kernels: 30 runs, mean of the quietest quarter 6 %;
their minimum 5 %; 300 runs, quarter 3 %, median 2 %, minimum 1 %.
"""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import onnx_ir as ir

from deploycompress import model as models
from deploycompress.quantization.candidates import clamp_behind
from deploycompress.runtime.session import Feed, NodeTime, Session, SessionConfig

_BUDGET_S = 1.5  # of profiled runs, for each graph
_FEWEST_RUNS, _MOST_RUNS = 5, 300
_MOST_EVENTS = 200_000  # of a profile, which is a file
_TAG = re.compile(r"tagged\d{6}")
_CONVERSIONS = ("QuantizeLinear", "DequantizeLinear")
_LAYOUTS = ("ReorderInput", "ReorderOutput", "Transpose")
_LAYER = re.compile("Conv|Gemm|MatMul")


@dataclass
class LayerTimes:
    """Shortest kernel times of one graph.

    Attributes:
        by_tag: Microseconds by tag; a tag whose node fused into another one is absent.
        elements: Number of output elements by tag.
        conversions: Microseconds and elements of every QuantizeLinear and DequantizeLinear, by node name.
        layouts: The same of every change of layout that the runtime added; it is part of `by_tag` too.
    """

    by_tag: dict[str, float] = field(default_factory=dict)
    elements: dict[str, int] = field(default_factory=dict)
    conversions: dict[str, tuple[float, int]] = field(default_factory=dict)
    layouts: dict[str, tuple[float, int]] = field(default_factory=dict)

    def add(self, node: NodeTime, nearest: Mapping[str, str]) -> None:
        """Counts one profiled node; one without a tag goes to that of its nearest layer, by node name."""
        count = math.prod(node.outputs[0]) if node.outputs else 0
        own = tag_in(node.name)
        tag = own or nearest.get(node.name)
        if node.op_type in _CONVERSIONS:
            self.conversions[node.name] = (node.least_us, count)
        elif tag is not None:
            self.by_tag[tag] = self.by_tag.get(tag, 0.0) + node.least_us
            if own is not None:
                self.elements[tag] = max(self.elements.get(tag, 0), count)
            elif node.op_type in _LAYOUTS:
                self.layouts[node.name] = (node.least_us, count)


def tag_in(name: str | None) -> str | None:
    """The tag that a name of the executed graph holds."""
    found = _TAG.search(name or "")
    return None if found is None else found.group()


def nearest(node: ir.Node, wanted: Callable[[ir.Node], bool]) -> ir.Node | None:
    """The node that is wanted and fewest edges away, in either direction; of equals, one in front."""
    seen, ring = {node}, [node]
    while ring:
        around = [other for each in ring for other in _neighbours(each)]
        ring = [other for other in dict.fromkeys(around) if other not in seen]
        seen.update(ring)
        found = next((other for other in ring if wanted(other)), None)
        if found is not None:
            return found
    return None


def _neighbours(node: ir.Node) -> Iterator[ir.Node]:
    yield from (maker for value in node.inputs if value is not None and (maker := value.producer()) is not None)
    yield from node.successors()


def _is_tagged_layer(node: ir.Node) -> bool:
    return _LAYER.search(node.op_type) is not None and tag_in(node.name) is not None


def untagged(executed: ir.Model) -> dict[str, str]:
    """Tag of the nearest layer, by name of the nodes that the runtime added."""
    found = {}
    for node in executed.graph:
        if tag_in(node.name) is None and node.op_type not in _CONVERSIONS:
            layer = nearest(node, _is_tagged_layer)
            if layer is not None:
                found[str(node.name)] = str(tag_in(layer.name))
    return found


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


def profiled(graphs: Sequence[ir.Model], feed: Feed, config: SessionConfig) -> tuple[LayerTimes, ...]:
    """Runs all of them in turn under the profiler, as often as the budget allows."""
    with tempfile.TemporaryDirectory(prefix="deploycompress-") as folder:
        sessions: list[Session] = []
        for model in graphs:
            place = Path(folder) / str(len(sessions))
            place.mkdir()
            weights_dir = models.weights_dir(model)
            content, path = models.serialize(model), place / "executed.onnx"
            sessions.append(Session(content, config, weights_dir=weights_dir, profile_dir=place, optimized_path=path))
        for session in sessions:
            session.run(feed)
        started, runs = perf_counter(), 0
        most = max(_FEWEST_RUNS, min(_MOST_RUNS, _MOST_EVENTS // max(1, len(graphs[0].graph))))
        while runs < _FEWEST_RUNS or (runs < most and perf_counter() - started < _BUDGET_S * len(sessions)):
            for session in sessions if runs % 2 else reversed(sessions):
                session.run(feed)
            runs += 1
        found = []
        for number, session in enumerate(sessions):
            times = LayerTimes()
            nearest_tag = untagged(ir.load(Path(folder) / str(number) / "executed.onnx"))
            for node in session.profile().nodes:
                times.add(node, nearest_tag)
            found.append(times)
    return tuple(found)
