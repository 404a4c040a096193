"""model, feed -> the graph ONNX Runtime really executes, with the time of every node.

The runtime writes the graph after its own fusions; a profile of the same session gives the times, joined by node name.
A branch of an If runs at most once in a run, so its nodes are timed as their own; the body of a Loop or Scan runs an
unknown number of times and is timed as one node.
Source: ONNX Runtime session options `optimized_model_filepath` and `enable_profiling`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from deploycompress import model as models
from deploycompress.passes.graph import nodes
from deploycompress.records.measured import Placement
from deploycompress.runtime.session import Feed, Profile, Session, SessionConfig


@dataclass(frozen=True)
class Executed:
    """What ran.

    Attributes:
        model: The graph after the runtime's fusions.
        times_us: Median kernel time of each node that ran, Loop and Scan bodies excepted, in order of the graph.
        placement: Providers that ran the nodes.
        threads: Intra-op threads.
    """

    model: ir.Model
    times_us: dict[ir.Node, float]
    placement: Placement
    threads: int


def execute(model: ir.Model, feed: Feed, config: SessionConfig, *, runs: int) -> Executed:
    """Runs `model` on `feed`, `runs` times to warm up and `runs` times under the profiler.

    Raises:
        ModelRejectedError: ONNX Runtime cannot load or run it.
    """
    content = models.serialize(_named(model))
    weights_dir = models.weights_dir(model)
    warm = Session(content, config, weights_dir=weights_dir)
    for _ in range(runs):
        warm.run(feed)
    with tempfile.TemporaryDirectory(prefix="deploycompress-") as folder:
        path = Path(folder) / "executed.onnx"
        session = Session(content, config, weights_dir=weights_dir, optimized_path=path, profile_dir=Path(folder))
        for _ in range(runs):
            session.run(feed)
        profile = session.profile()
        executed = ir.load(path)
    return Executed(
        executed, _joined(executed, profile), profile.placement(config.providers, session.threads), session.threads
    )


def _named(model: ir.Model) -> ir.Model:
    """A copy in which every node has a name of its own; those that have one keep it."""
    copy = model.clone()
    taken: set[str] = set()
    for node in nodes(copy):
        name, counter = node.name or f"{node.op_type}:{node.outputs[0].name}", 0
        while name in taken:
            counter += 1
            name = f"{node.name or node.op_type}#{counter}"
        taken.add(name)
        node.name = name
    return copy


def timed_nodes(graph: ir.Graph) -> Iterator[ir.Node]:
    """The nodes of `graph` and of the branches of its If nodes, each If before its branches."""
    for node in graph:
        yield node
        for branch in branches(node):
            yield from timed_nodes(branch)


def branches(node: ir.Node) -> list[ir.Graph]:
    """The two branches of an If; nothing for any other node."""
    if node.op_type != "If":
        return []
    return [a.as_graph() for a in node.attributes.values() if a.type == ir.AttributeType.GRAPH]


def _joined(model: ir.Model, profile: Profile) -> dict[ir.Node, float]:
    """Profiled time of each node, by its name and operator; that of an If without what its branches took."""
    by_name = {(time.name, time.op_type): time.time_us for time in profile.nodes}
    times: dict[ir.Node, float] = {}
    for node in timed_nodes(model.graph):
        time_us = by_name.get((node.name or "", node.op_type))
        if time_us is not None:
            inner = sum(by_name.get((n.name or "", n.op_type), 0.0) for branch in branches(node) for n in branch)
            times[node] = max(0.0, time_us - inner)
    return times
