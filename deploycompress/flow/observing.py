"""model + samples -> extremes of the tapped tensors in every sample, class scores, and the samples that do not run.

One pass, one session; O(samples x tensors) numbers are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deploycompress import model as models
from deploycompress.calibration.taps import tap
from deploycompress.data import Samples
from deploycompress.errors import ModelRejectedError
from deploycompress.records.progress import Track, silent
from deploycompress.records.symptoms import Symptom, listed
from deploycompress.runtime.session import Feed, Session, SessionConfig

_SCORES_RANK = 2


@dataclass
class Observed:
    """What the model did on the samples.

    Attributes:
        tensors: Names of the tapped tensors.
        lows: [samples, tensors] smallest finite element.
        highs: [samples, tensors] largest finite element.
        nonfinite: (sample, tensor, number of NaN and infinite elements), where there are any.
        refused: (sample, reason) of those that ONNX Runtime did not run.
        scores: First output by feed where it is [batch, classes], else None.
    """

    tensors: tuple[str, ...]
    lows: NDArray[np.float64]
    highs: NDArray[np.float64]
    nonfinite: list[tuple[str, str, int]] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    scores: NDArray[np.float64] | None = None


def observe(
    model: ir.Model, tensors: Sequence[str], samples: Samples, config: SessionConfig, track: Track = silent
) -> Observed:
    """Runs every sample once.

    Args:
        model: The float graph.
        tensors: Graph inputs or values produced in the main graph.
        samples: What is run.
        config: Threads and providers.
        track: Shows the progress.
    """
    inputs = {str(value.name) for value in model.graph.inputs}
    tapped = Tapped.open(model, [name for name in tensors if name not in inputs], config)
    found = Observed(tuple(tensors), np.empty((0, 0)), np.empty((0, 0)))
    extremes, scores = [], []
    for sample in track(samples, "examining", len(samples)):
        try:
            values = tapped.run(sample.feed)
        except ModelRejectedError as error:
            found.refused.append((sample.name, error.what))
            continue
        scores.append(tapped.scores(values))
        row = []
        for name in tensors:
            array = np.asarray(sample.feed[name] if name in inputs else values[name])
            finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
            if finite.size < array.size:
                found.nonfinite.append((sample.name, name, int(array.size - finite.size)))
            row.append((float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0))
        extremes.append(row)
    table = np.array(extremes, np.float64).reshape(len(extremes), len(tensors), 2)
    found.lows, found.highs = table[:, :, 0], table[:, :, 1]
    kept = [each for each in scores if each is not None]
    if kept and len(kept) == len(scores) and len({each.shape[1] for each in kept}) == 1:
        found.scores = np.concatenate(kept)
    return found


@dataclass(frozen=True)
class Tapped:
    """A session that gives tensors from inside the model beside its first output."""

    session: Session
    first: str
    outputs: dict[str, str]

    @classmethod
    def open(cls, model: ir.Model, tensors: Sequence[str], config: SessionConfig) -> Tapped:
        """A session for `tensors`, which are produced in the graph."""
        first = model.graph.outputs[0]
        name = str(first.name)
        copy, taps = tap(model, list(dict.fromkeys([*([name] if first.producer() else []), *tensors])))
        session = Session(models.serialize(copy), config, weights_dir=models.weights_dir(model))
        return cls(session, name, {tensor: tapped.output for tensor, tapped in taps.items()})

    def run(self, feed: Feed) -> dict[str, Any]:
        """Arrays by tensor.

        Raises:
            ModelRejectedError: ONNX Runtime refuses the feed.
        """
        values = self.session.run(feed)
        return {tensor: values[output] for tensor, output in self.outputs.items()}

    def scores(self, values: dict[str, Any]) -> NDArray[np.float64] | None:
        """The first output as class scores [batch, classes], or None where it has another form."""
        output = values.get(self.first)
        if not isinstance(output, np.ndarray) or output.ndim != _SCORES_RANK or output.dtype.kind != "f":
            return None
        return output.astype(np.float64) if output.shape[1] > 1 else None


def run_symptoms(found: Observed, count: int) -> Iterator[Symptom]:
    """Samples that do not run, and tensors that hold NaN or infinity."""
    if found.refused:
        yield Symptom(
            "samples that do not run",
            "failure",
            f"ONNX Runtime refuses {len(found.refused)} of {count} samples: {found.refused[0][1]}",
            listed([name for name, _ in found.refused]),
            "calibration would end at the first of them",
            "check shapes, and that indices lie in the range of the model",
        )
    if found.nonfinite:
        sample, tensor, elements = found.nonfinite[0]
        names = list(dict.fromkeys(name for _, name, _ in found.nonfinite))
        yield Symptom(
            "NaN or infinity inside the model",
            "failure",
            f"tensor {tensor!r} holds {elements} NaN or infinite values",
            f"sample {sample}; tensors {listed(names)}",
            "the float model overflows, so there is no range to find",
            "check these samples and their preprocessing",
        )
