"""models and samples -> accuracy of each with its paired drop, and fidelity to the first, in one pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deploycompress.data import Batch, Samples
from deploycompress.errors import UnknownNameError, UnsupportedError
from deploycompress.measurement.accuracy import Outcomes, accuracy, joined, outcomes
from deploycompress.measurement.fidelity import FidelityMeter
from deploycompress.records.measured import Accuracy, Fidelity
from deploycompress.records.progress import Track, silent
from deploycompress.runtime.session import Session

BATCH_SIZE = 32


@dataclass(frozen=True)
class Evaluation:
    """What the samples say about one model.

    Attributes:
        accuracy: Top-1; None where the samples or the output do not allow it.
        top5: Top-5; None likewise, and below ten classes.
        fidelity: Outputs against those of the first model; None for that one and where they cannot be compared.
        notes: Why a figure is absent.
    """

    accuracy: Accuracy | None
    top5: Accuracy | None
    fidelity: Fidelity | None
    notes: tuple[str, ...]


@dataclass
class _Pending:
    """Figures of one model while the pass is under way; a figure that turns out impossible becomes None with a note."""

    parts: list[Outcomes] | None
    meter: FidelityMeter | None
    notes: list[str] = field(default_factory=list)


def evaluate(
    sessions: Sequence[Session], samples: Samples, *, output: str | None = None, track: Track = silent
) -> tuple[Evaluation, ...]:
    """Runs every sample through every model; the first model is the baseline of the others.

    Args:
        sessions: Open models that take the same inputs.
        samples: Labelled samples give an accuracy, any samples a fidelity.
        output: Name of the output that holds the class scores; the first one where it is not given.
        track: Shows progress.

    Raises:
        ModelRejectedError: A model does not run on a sample.
        DataRejectedError: A label is not a class of the model.
        UnknownNameError: A model has no output of that name.
    """
    judged = samples.labelled and samples.valid_for_accuracy
    pending = [_Pending([] if judged else None, FidelityMeter() if index else None) for index in range(len(sessions))]
    for batch in track(samples.batches(BATCH_SIZE), "evaluating", -(-samples.examples // BATCH_SIZE)):
        reference: Mapping[str, Any] = {}
        for model, session in zip(pending, sessions, strict=True):
            results = session.run(batch.feed)
            reference = reference or results
            _add(model, results, reference, batch, output)
    baseline = pending[0]
    return tuple(_finished(model, None if model is baseline else baseline) for model in pending)


def _add(
    model: _Pending, results: Mapping[str, Any], reference: Mapping[str, Any], batch: Batch, output: str | None
) -> None:
    if model.meter is not None:
        try:
            model.meter.add(reference, results)
        except UnsupportedError as error:
            model.meter = None
            model.notes.append(f"fidelity not measured: {error}")
    if model.parts is not None:
        name = output or next(iter(results))
        if name not in results:
            raise UnknownNameError("output", name, results)
        try:
            model.parts.append(outcomes(results[name], batch.labels))
        except UnsupportedError as error:
            model.parts = None
            model.notes.append(f"accuracy not measured: {error}")


def _finished(model: _Pending, baseline: _Pending | None) -> Evaluation:
    own = joined(model.parts) if model.parts else None
    other = joined(baseline.parts) if baseline is not None and baseline.parts else None
    return Evaluation(
        accuracy=_figure(own, other, lambda found: found.top1, "top-1"),
        top5=_figure(own, other, lambda found: found.top5, "top-5"),
        fidelity=model.meter.result() if model.meter is not None else None,
        notes=tuple(model.notes),
    )


def _figure(
    own: Outcomes | None, other: Outcomes | None, select: Callable[[Outcomes], Any], metric: str
) -> Accuracy | None:
    correct = None if own is None else select(own)
    if correct is None:
        return None
    return accuracy(correct, None if other is None else select(other), metric=metric)
