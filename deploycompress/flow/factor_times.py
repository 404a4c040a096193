"""layer, forms that it may get -> the time of each, alone in a graph, in turn, on an input of the model's own shape.

A time is the shortest of the rounds: on the thread's own clock where the session has one thread, so that other work on
the machine does not count, and on the wall clock where several share the work. Layers of equal shapes are timed once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter_ns, thread_time_ns

import numpy as np
import onnx_ir as ir

from deploycompress import model as models
from deploycompress.factorization import Layer, replace
from deploycompress.factorization.factors import Factors
from deploycompress.passes import graph as g
from deploycompress.runtime.session import Session, SessionConfig

_WARM_UP = 3
_ROUNDS = 30
_FEWEST_ROUNDS = 8
_ROUNDS_NS = 40_000_000  # of each form
_Key = tuple[object, ...]


@dataclass
class Stopwatch:
    """Times forms of layers.

    Attributes:
        config: Threads and providers.
        opsets: Operator sets of the model.
        ir_version: Of the model.
        known: Microseconds by shape, of what was timed before.
    """

    config: SessionConfig
    opsets: dict[str, int]
    ir_version: int
    known: dict[_Key, float] = field(default_factory=dict)

    def times_us(self, layer: Layer, shape: Sequence[int], forms: Sequence[Factors]) -> list[float]:
        """Microseconds of the layer as it is, then of each form, on an input of this shape."""
        wanted: list[Factors | None] = [None, *forms]
        keys = [_key(layer, shape, form) for form in wanted]
        if any(key not in self.known for key in keys):
            rivals = [self._alone(layer, shape, form) for form in wanted]
            self.known.update(zip(keys, self._raced(rivals, shape, layer), strict=True))
        return [self.known[key] for key in keys]

    def _alone(self, layer: Layer, shape: Sequence[int], form: Factors | None) -> ir.Model:
        node, dtype = layer.node, _dtype(layer)
        source, result = (ir.Value(name=name, type=ir.TensorType(dtype)) for name in ("x", "y"))
        source.shape = ir.Shape(shape)
        constants = [_copied(value, f"c{index}") for index, value in enumerate(node.inputs[1:])]
        copy = ir.Node(node.domain, node.op_type, [source, *constants], node.attributes.values(), outputs=[result])
        graph = ir.Graph(
            [source],
            [result],
            nodes=[copy],
            initializers=[value for value in constants if value is not None],
            opset_imports=self.opsets,
            name="layer",
        )
        alone = ir.Model(graph, ir_version=self.ir_version)
        if form is not None:
            replace(alone, copy, form)
        return alone

    def _raced(self, rivals: Sequence[ir.Model], shape: Sequence[int], layer: Layer) -> list[float]:
        values = np.random.default_rng(0).standard_normal(shape).astype(_dtype(layer).numpy())
        sessions = [Session(models.serialize(rival), self.config) for rival in rivals]
        clock = thread_time_ns if sessions[0].threads == 1 else perf_counter_ns
        return fastest_us([session.runner({"x": values}) for session in sessions], clock)


def fastest_us(runs: Sequence[Callable[[], object]], clock: Callable[[], int]) -> list[float]:
    """Shortest time of each callable in microseconds, called in turn."""
    least = [np.inf] * len(runs)
    stop = perf_counter_ns() + _ROUNDS_NS * len(runs)
    for number in range(_WARM_UP + _ROUNDS):
        if number >= _WARM_UP + _FEWEST_ROUNDS and perf_counter_ns() > stop:
            break
        for place, run in enumerate(runs):
            start = clock()
            run()
            if number >= _WARM_UP:
                least[place] = min(least[place], clock() - start)
    return [float(each) / 1e3 for each in least]


def _copied(value: ir.Value | None, name: str) -> ir.Value | None:
    """A constant of the layer for a graph of its own; one that is computed is left out (an addition at most)."""
    data = g.array(value)
    if data is None:
        return None
    tensor = ir.tensor(np.ascontiguousarray(data), name=name)
    return ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(data.shape), const_value=tensor)


def _dtype(layer: Layer) -> ir.DataType:
    weight = layer.node.inputs[1]
    assert weight is not None
    assert weight.dtype is not None
    return weight.dtype


def _key(layer: Layer, shape: Sequence[int], factors: Factors | None) -> _Key:
    own = tuple(sorted((name, str(attribute.value)) for name, attribute in layer.node.attributes.items()))
    parts = () if factors is None else tuple((each.weight.shape, each.slides, each.groups) for each in factors)
    bias = g.input_at(layer.node, 2) is not None
    return (layer.node.op_type, own, tuple(shape), layer.kernel.shape, _dtype(layer), bias, parts)
