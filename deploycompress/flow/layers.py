"""models and samples -> time of every executed node, and the error of every layer against the baseline.

Tensors belong together by name: the quantizer and the rewrites keep the names of what they compute. Only outputs of
weighted layers are compared. Reading a tensor keeps ONNX Runtime from fusing across it, so the error of an int8 layer
is that of its rounded inputs and weights, before its own output is rounded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import onnx_ir as ir

from deploycompress import model as models
from deploycompress.calibration.taps import Tap, tap
from deploycompress.data import Samples
from deploycompress.flow.explain import trace
from deploycompress.passes.graph import nodes
from deploycompress.records.measured import LayerError, LayerFigure
from deploycompress.runtime.session import Feed, Session, SessionConfig

_LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN"})
_SAMPLES = 16
_RUNS = 20


def layer_times(path: Path, feed: Feed, config: SessionConfig) -> tuple[LayerFigure, ...]:
    """Time of every node that ran, in order of execution.

    Raises:
        ModelRejectedError: ONNX Runtime cannot load or run it.
    """
    found = trace(models.load(path), feed, config, runs=_RUNS)
    return tuple(
        LayerFigure(
            row.name, row.op_type, row.kind, row.time_us, row.operations, row.of_peak, found.reasons.get(row.name, "")
        )
        for row in found.rows
    )


def layer_errors(baseline: Path, model: Path, samples: Samples, config: SessionConfig) -> tuple[LayerError, ...]:
    """Error of every layer that both compute, in order of the baseline's graph.

    Raises:
        ModelRejectedError: One of them does not run on a sample.
    """
    first, second = models.load(baseline), models.load(model)
    ours = {str(node.outputs[0].name): node.op_type for node in nodes(second)}
    # A rewrite folds what follows a layer into it, which then makes what the last of them made.
    made = {str(node.outputs[0].name): (node.op_type, ours.get(str(node.outputs[0].name), "")) for node in first.graph}
    layers = {name: next((op for op in ops if op in _LAYERS), "") for name, ops in made.items() if name in ours}
    shared = [name for name, op_type in layers.items() if op_type]
    if not shared:
        return ()
    sessions = [_tapped(first, baseline, shared, config), _tapped(second, model, shared, config)]
    power, noise = dict.fromkeys(shared, 0.0), dict.fromkeys(shared, 0.0)
    for sample in islice(samples, _SAMPLES):
        outputs = [session.run(sample.feed) for session, _ in sessions]
        for name in shared:
            expected, found = (
                np.asarray(out[taps[name].output], np.float64) for out, (_, taps) in zip(outputs, sessions, strict=True)
            )
            if expected.shape == found.shape:
                power[name] += float(np.square(expected).sum())
                noise[name] += float(np.square(expected - found).sum())
    return tuple(LayerError(name, layers[name], _sqnr_db(power[name], noise[name])) for name in shared if power[name])


def _tapped(model: ir.Model, path: Path, names: Sequence[str], config: SessionConfig) -> tuple[Session, dict[str, Tap]]:
    copy, taps = tap(model, names)
    return Session(models.serialize(copy), config, weights_dir=models.weights_dir(model) or path.parent), taps


def _sqnr_db(power: float, noise: float) -> float:
    return math.inf if noise == 0 else 10 * math.log10(power / noise)
