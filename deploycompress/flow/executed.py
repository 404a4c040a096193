"""model, feed -> the graph ONNX Runtime really executes, with the time of every node.

The runtime writes the graph after its own fusions; a profile of the same session gives the times, joined by node name.
A branch of an If runs at most once in a run, so its nodes are timed as their own; the body of a Loop or Scan runs an
unknown number of times and is timed as one node.
Source: ONNX Runtime session options `optimized_model_filepath` and `enable_profiling`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from deploycompress import model as models
from deploycompress.flow.arithmetic import operations
from deploycompress.flow.profiler_cost import ProfilerCost, quiet_mean
from deploycompress.passes.graph import nodes
from deploycompress.records.measured import Placement
from deploycompress.runtime.session import Feed, Profile, Session, SessionConfig


@dataclass(frozen=True)
class Executed:
    """What ran.

    Attributes:
        model: The graph after the runtime's fusions.
        times_us: Time of each node that ran, Loop and Scan bodies excepted, in order of the graph: mean kernel time
            over the quietest quarter of the runs, without what the profiler adds to it.
        operations: Of those that multiply: how often, counted twice with the addition.
        latency_us: Mean time of the quietest quarter of the runs of the whole model, without the profiler.
        placement: Providers that ran the nodes.
        threads: Intra-op threads.
    """

    model: ir.Model
    times_us: dict[ir.Node, float]
    operations: dict[ir.Node, int]
    latency_us: float
    placement: Placement
    threads: int


def execute(model: ir.Model, feed: Feed, config: SessionConfig, *, runs: int) -> Executed:
    """Runs `model` on `feed`, `runs` times to warm up and `runs` times under the profiler.

    Raises:
        ModelRejectedError: ONNX Runtime cannot load or run it.
    """
    content = models.serialize(named(model))
    weights_dir = models.weights_dir(model)
    plain = Session(content, config, weights_dir=weights_dir).runner(feed)
    for _ in range(runs):
        plain()
    latencies_us: list[float] = []
    with tempfile.TemporaryDirectory(prefix="deploycompress-") as folder:
        path = Path(folder) / "executed.onnx"
        session = Session(content, config, weights_dir=weights_dir, optimized_path=path, profile_dir=Path(folder))
        cost = ProfilerCost(config, Path(folder) / "cost")
        for _ in range((runs + 1) // 2):
            # In pairs: the first of each finds the caches as the other left them and is not among the quietest.
            session.run(feed)
            session.run(feed)
            latencies_us += [_timed_us(plain), _timed_us(plain)]
            cost.round()
        profile, added_us = session.profile(), cost.per_node_us()
        executed = ir.load(path)
    placement = profile.placement(config.providers, session.threads)
    return Executed(
        executed,
        _joined(executed, profile, added_us),
        _operations(executed, profile),
        quiet_mean(latencies_us),
        placement,
        session.threads,
    )


def _timed_us(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return (time.perf_counter() - began) * 1e6


def named(model: ir.Model) -> ir.Model:
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


def _operations(model: ir.Model, profile: Profile) -> dict[ir.Node, int]:
    timed = {(time.name, time.op_type): time for time in profile.nodes}
    found = {}
    for node in timed_nodes(model.graph):
        time = timed.get((node.name or "", node.op_type))
        count = None if time is None else operations(time, node)
        if count is not None:
            found[node] = count
    return found


def _joined(model: ir.Model, profile: Profile, added_us: float) -> dict[ir.Node, float]:
    """Time of each node, by its name and operator; that of an If without what its branches took."""
    by_name = {(time.name, time.op_type): max(0.0, time.time_us - added_us) for time in profile.nodes}
    times: dict[ir.Node, float] = {}
    for node in timed_nodes(model.graph):
        time_us = by_name.get((node.name or "", node.op_type))
        if time_us is not None:
            inner = sum(by_name.get((n.name or "", n.op_type), 0.0) for branch in branches(node) for n in branch)
            times[node] = max(0.0, time_us - inner)
    return times
