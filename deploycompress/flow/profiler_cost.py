"""this machine -> what the runtime's profiler adds to the time of every node.

    cost = mean kernel time under the profiler - time of a run without it / nodes         of a chain of additions

The profiler writes down shapes between the two clock readings of a node, two to three microseconds each, which is more
than many nodes take. The chain adds one number at a time, so that what it costs is what any node costs beside its
arithmetic; it runs in turn with the model whose profile is mended, because the cost follows the processor's clock.
"""

from __future__ import annotations

from pathlib import Path
from time import perf_counter_ns

import numpy as np
import onnx_ir as ir

from deploycompress import model as models
from deploycompress.runtime.session import Session, SessionConfig

_NODES = 50


class ProfilerCost:
    """Measures the cost in rounds between those of the model: `round()` as often, then `per_node_us()`."""

    def __init__(self, config: SessionConfig, folder: Path) -> None:
        folder.mkdir()
        content, self._feed = _chain(), {"x": np.ones(1, np.float32)}
        plain = SessionConfig(providers=config.providers, threads=1, optimization="none")
        self._profiled = Session(content, plain, profile_dir=folder)
        self._run = Session(content, plain).runner(self._feed)
        self._times_us: list[float] = []

    def round(self) -> None:
        """One run under the profiler and one without it."""
        self._profiled.run(self._feed)
        self._run()
        began = perf_counter_ns()
        self._run()
        self._times_us.append((perf_counter_ns() - began) / 1e3)

    def per_node_us(self) -> float:
        """The cost (us) of one node; ends the measurement."""
        kernels = [node.time_us for node in self._profiled.profile().nodes]
        return max(0.0, float(np.mean(kernels)) - quiet_mean(self._times_us) / _NODES)


def quiet_mean(times: list[float]) -> float:
    """Mean of the smallest quarter of the times: what other work does to a run is in the larger ones."""
    return float(np.mean(sorted(times)[: (len(times) + 3) // 4]))


def _chain() -> bytes:
    one = ir.val("one", const_value=ir.tensor(np.ones(1, np.float32), name="one"))
    x = ir.val("x", ir.DataType.FLOAT, [1])
    nodes: list[ir.Node] = []
    for number in range(_NODES):
        nodes.append(ir.node("Add", [nodes[-1].outputs[0] if nodes else x, one], name=f"add{number}"))
        nodes[-1].outputs[0].name = f"sum{number}"
    y = nodes[-1].outputs[0]
    y.type, y.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape([1])
    graph = ir.Graph([x], [y], nodes=nodes, initializers=[one], opset_imports={"": 17}, name="chain")
    return models.serialize(ir.Model(graph, ir_version=8))
