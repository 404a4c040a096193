"""ONNX file -> where its time and bytes go, by operator, node and element type; what ran in int8, what not, and why."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from deploycompress import model as models
from deploycompress.flow.arithmetic import Peaks, peaks
from deploycompress.flow.census import Census, Kind, take
from deploycompress.flow.contents import bytes_by_dtype
from deploycompress.flow.executed import Executed, execute
from deploycompress.flow.feeds import differential_feeds, shapes, timing_feed
from deploycompress.flow.source import mended, open_source
from deploycompress.passes.graph import nodes
from deploycompress.records.measured import Placement
from deploycompress.runtime.session import Feed, Session, SessionConfig
from deploycompress.targets import Target


@dataclass(frozen=True)
class OpRow:
    """One operator of the executed graph: how many nodes, their time in one run, and its share of all."""

    op_type: str
    kind: Kind
    count: int
    time_us: float
    share: float


@dataclass(frozen=True)
class NodeRow:
    """One node of the executed graph.

    Attributes:
        name: Its name there.
        op_type: Operator.
        kind: What it does.
        time_us: Kernel time of one run.
        share: Of the time of all nodes.
        operations: Multiplications and additions of a convolution or product, None for other nodes.
        limit_us: Least time for them at the measured peak of this machine.
    """

    name: str
    op_type: str
    kind: Kind
    time_us: float
    share: float
    operations: int | None
    limit_us: float | None

    @property
    def of_peak(self) -> float | None:
        """Share of the peak that the node reaches."""
        return None if self.limit_us is None or self.time_us <= 0 else self.limit_us / self.time_us


@dataclass(frozen=True)
class StayedFloat:
    """A node that could carry int8 weights and ran in float, with the reason."""

    name: str
    op_type: str
    time_us: float
    reason: str


@dataclass(frozen=True)
class DequantizedWeight:
    """A weight stored in few bits and turned into float on every run."""

    name: str
    dtype: str
    size_bytes: int
    time_us: float


@dataclass(frozen=True)
class ExplainResult:
    """What `explain` found.

    Attributes:
        source: The model.
        target: Name of the target profile.
        nodes: Nodes in the file, control-flow bodies included.
        executed_nodes: Nodes that ran after the runtime's fusions, a Loop or Scan counted as one.
        time_us: Time of all nodes in one run.
        latency_us: Time of one run of the whole model, without the profiler.
        limit_us: Least time for the arithmetic of all convolutions and products at the measured peaks.
        peaks: Best rates of this machine's kernels.
        ops: Per operator, dearest first.
        executed: Every node that ran, in order of execution.
        slowest: The dearest of them.
        int8_share: Share of the time spent in int8 kernels.
        conversion_share: Share spent converting (Q, DQ, Cast, layout).
        transpose_share: Share spent in Transpose.
        stayed_float: In a quantized model: the weighted nodes that ran in float, dearest first.
        dequantized_weights: Weights dequantized on every run.
        bytes_by_dtype: Bytes of weights in the file by element type, largest first.
        placement: Effective providers.
        data: Where the feed came from.
        feed: Shape of every input of the feed.
    """

    source: Path
    target: str
    nodes: int
    executed_nodes: int
    time_us: float
    latency_us: float
    limit_us: float
    peaks: Peaks
    ops: tuple[OpRow, ...]
    executed: tuple[NodeRow, ...]
    slowest: tuple[NodeRow, ...]
    int8_share: float
    conversion_share: float
    transpose_share: float
    stayed_float: tuple[StayedFloat, ...]
    dequantized_weights: tuple[DequantizedWeight, ...]
    bytes_by_dtype: dict[str, int]
    placement: Placement
    data: str
    feed: dict[str, list[int]]

    @property
    def verdict(self) -> str:
        """One line: what the time is spent on."""
        if not self.ops:
            return f"{self.executed_nodes} nodes, nothing to time"
        dearest = self.ops[0]
        text = f"{self.time_us / 1e3:.3f} ms of kernels, {dearest.share:.0%} in {dearest.op_type}"
        text += f", {self.int8_share:.0%} in int8"
        if self.stayed_float:
            text += f", {len(self.stayed_float)} nodes stayed float"
        return text


def explain(
    source: Path,
    *,
    target: Target,
    data: str | None = None,
    preprocess: str | None = None,
    tokenizer: Path | None = None,
    runs: int = 20,
    top: int = 10,
) -> ExplainResult:
    """Runs the model under the runtime's profiler and says where time and bytes go.

    Args:
        source: An ONNX file.
        target: The device; decides the threads.
        data: Samples to run (see `data.open`); a random feed where None.
        preprocess: How images become inputs.
        tokenizer: Tokenizer file for text samples.
        runs: Profiled runs.
        top: Nodes to list.

    Raises:
        ModelRejectedError: It does not load, or runs on no feed.
    """
    model = open_source(source)
    config = SessionConfig(threads=target.threads)
    model, session = mended(model, Session(source, config))
    signature = models.signature(model)
    feeds = differential_feeds(session, signature, data, preprocess=preprocess, tokenizer=tokenizer)
    feed = timing_feed(session, signature, feeds, data)
    found = trace(model, feed, config, runs=runs)
    executed, census, rows = found.executed, found.census, found.rows
    total = sum(executed.times_us.values()) or 1.0
    share = _share_by_kind(executed, census, total)
    return ExplainResult(
        source=source,
        target=target.name,
        nodes=len(nodes(model)),
        executed_nodes=len(executed.times_us),
        time_us=sum(executed.times_us.values()),
        latency_us=executed.latency_us,
        limit_us=sum(row.limit_us for row in rows if row.limit_us is not None),
        peaks=found.peaks,
        ops=_ops(executed, census, total),
        executed=rows,
        slowest=tuple(sorted(rows, key=lambda row: -row.time_us)[:top]),
        int8_share=share["int8"],
        conversion_share=share["conversion"],
        transpose_share=sum(t for node, t in executed.times_us.items() if node.op_type == "Transpose") / total,
        stayed_float=_stayed_float(executed, census),
        dequantized_weights=_dequantized(executed, census),
        bytes_by_dtype=bytes_by_dtype(model),
        placement=executed.placement,
        data=data or "random",
        feed={name: list(shape) for name, shape in shapes(feed).items()},
    )


@dataclass(frozen=True)
class Trace:
    """What ran, what each node is, and its figures in order of the graph."""

    executed: Executed
    census: Census
    peaks: Peaks
    rows: tuple[NodeRow, ...]

    @property
    def reasons(self) -> dict[str, str]:
        """Why a node stayed float, by its name."""
        return {node.name or "": reason for node, reason in self.census.reasons.items()}


def trace(model: ir.Model, feed: Feed, config: SessionConfig, *, runs: int) -> Trace:
    """Runs `model` on `feed` under the runtime's profiler.

    Raises:
        ModelRejectedError: ONNX Runtime cannot load or run it.
    """
    executed = execute(model, feed, config, runs=runs)
    census, found = take(executed.model), peaks(config)
    total = sum(executed.times_us.values()) or 1.0
    return Trace(executed, census, found, _rows(executed, census, total, found))


def _share_by_kind(executed: Executed, census: Census, total: float) -> dict[Kind, float]:
    share: dict[Kind, float] = defaultdict(float)
    for node, time_us in executed.times_us.items():
        share[census.kinds[node]] += time_us / total
    return share


def _ops(executed: Executed, census: Census, total: float) -> tuple[OpRow, ...]:
    times: dict[tuple[str, Kind], list[float]] = defaultdict(list)
    for node, time_us in executed.times_us.items():
        times[node.op_type, census.kinds[node]].append(time_us)
    rows = [OpRow(op, kind, len(found), sum(found), sum(found) / total) for (op, kind), found in times.items()]
    return tuple(sorted(rows, key=lambda row: -row.time_us))


def _rows(executed: Executed, census: Census, total: float, found: Peaks) -> tuple[NodeRow, ...]:
    """Every node that ran, in order of the graph."""
    rows = []
    for node, time_us in executed.times_us.items():
        kind, count = census.kinds[node], executed.operations.get(node)
        limit = None if count is None else found.limit_us(count, int8=kind == "int8")
        rows.append(NodeRow(node.name or "", node.op_type, kind, time_us, time_us / total, count, limit))
    return tuple(rows)


def _stayed_float(executed: Executed, census: Census) -> tuple[StayedFloat, ...]:
    rows = [
        StayedFloat(node.name or "", node.op_type, executed.times_us[node], reason)
        for node, reason in census.reasons.items()
        if node in executed.times_us
    ]
    return tuple(sorted(rows, key=lambda row: -row.time_us))


def _dequantized(executed: Executed, census: Census) -> tuple[DequantizedWeight, ...]:
    rows = []
    for node in census.dequantized_weights:
        weight = node.inputs[0]
        tensor = None if weight is None else weight.const_value
        if weight is not None and tensor is not None:
            name = models.dtype_name(tensor.dtype)
            rows.append(DequantizedWeight(weight.name or "", name, tensor.nbytes, executed.times_us.get(node, 0.0)))
    return tuple(sorted(rows, key=lambda row: -row.time_us))
