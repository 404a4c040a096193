"""float model + samples + tensor names -> Statistics, in one streaming pass with constant memory.

The tensors are made graph outputs of a copy of the graph (weights stay where they are), one session runs every sample,
and each output is folded into its statistics at once and dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from deploycompress import model as models
from deploycompress.calibration.statistics import Statistics, TensorStatistics
from deploycompress.errors import DataRejectedError, UnknownNameError
from deploycompress.records.progress import Track, silent
from deploycompress.runtime.session import Session, SessionConfig


def collect(
    model: ir.Model,
    tensors: Sequence[str],
    feeds: Iterable[Mapping[str, Any]],
    *,
    weights_dir: Path | None = None,
    config: SessionConfig | None = None,
    channel_axes: Mapping[str, int] | None = None,
    track: Track = silent,
) -> Statistics:
    """Statistics of `tensors` over `feeds`.

    Args:
        model: The float graph; it is not changed.
        tensors: Names of graph inputs or of values produced in the main graph.
        feeds: One mapping of input name to array per sample.
        weights_dir: Folder of the external data, where the model has any.
        config: Threads and providers of the session.
        channel_axes: Axis of the channels, for tensors whose channel means are wanted too.
        track: Shows the progress.

    Raises:
        UnknownNameError: A name is neither an input nor produced in the main graph.
        DataRejectedError: `feeds` is empty.
    """
    names = list(dict.fromkeys(tensors))
    axes = channel_axes or {}
    inputs = {value.name for value in model.graph.inputs}
    tapped = tap(model, [name for name in names if name not in inputs])
    session = Session(models.serialize(tapped), config, weights_dir=weights_dir)
    outputs = [name for name in names if name not in inputs]
    found: dict[str, TensorStatistics] = {}
    samples = 0
    for feed in track(feeds, "calibrating"):
        # A model without any tap still runs, so that a feed it cannot take is refused here and not later.
        values = session.run(feed, outputs or None)
        for name in names:
            statistics = TensorStatistics.of(
                np.asarray(feed[name] if name in inputs else values[name]), channel_axis=axes.get(name)
            )
            found[name] = found[name].merge(statistics) if name in found else statistics
        samples += 1
    if samples == 0:
        raise DataRejectedError("the calibration set is empty", remedy="give at least one sample")
    return Statistics(found, samples)


def tap(model: ir.Model, tensors: Sequence[str]) -> ir.Model:
    """A copy of `model` with `tensors` added to its outputs.

    Raises:
        UnknownNameError: A tensor is not produced in the main graph.
    """
    copy = model.clone()
    produced = {value.name: value for node in copy.graph for value in node.outputs if value.name}
    present = {value.name for value in copy.graph.outputs}
    for name in tensors:
        if name not in produced:
            raise UnknownNameError("tensor", name, [known for known in produced if known])
        if name not in present:
            value = produced[name]
            if value.type is None:
                value.type = ir.TensorType(ir.DataType.FLOAT)
            copy.graph.outputs.append(value)
    return copy
