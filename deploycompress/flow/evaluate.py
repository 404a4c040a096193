"""models and samples -> the metric of each with its paired drop, and fidelity to the first, in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from deploycompress.data import Batch, Samples
from deploycompress.errors import UnknownNameError, UnsupportedError, UsageError
from deploycompress.measurement.accuracy import accuracy, flips
from deploycompress.measurement.fidelity import FidelityMeter
from deploycompress.measurement.metrics.choice import fitting
from deploycompress.measurement.metrics.classes import LEAST_CLASSES_FOR_TOP5, TOP1, TOP5, most_frequent
from deploycompress.measurement.metrics.metric import Metric
from deploycompress.records.measured import Accuracy, Fidelity, Flip
from deploycompress.records.progress import Track, silent
from deploycompress.runtime.session import Feed

BATCH_SIZE = 32


class Runs(Protocol):
    """An open model."""

    def run(self, feed: Feed) -> Mapping[str, Any]:
        """Outputs by name for one feed."""
        ...


@dataclass(frozen=True)
class Evaluation:
    """What the samples say about one model.

    Attributes:
        accuracy: The metric; None where the samples or the output do not allow it.
        top5: Top-5 beside a top-1; None likewise, and below ten classes.
        flips: Samples that only one of this model and the first gets right, in the order of the data.
        fidelity: Outputs against those of the first model; None for that one and where they cannot be compared.
        notes: Why a figure is absent, and what is suspicious about one.
    """

    accuracy: Accuracy | None
    top5: Accuracy | None
    flips: tuple[Flip, ...]
    fidelity: Fidelity | None
    notes: tuple[str, ...]


@dataclass
class _Pending:
    """Figures of one model while the pass is under way; a figure that turns out impossible becomes None with a note."""

    meter: FidelityMeter | None
    judged: bool
    tables: dict[Metric, list[Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def table(self, metric: Metric) -> Any:  # noqa: ANN401 - an array or None
        parts = self.tables.get(metric)
        return np.concatenate(parts) if self.judged and parts else None


def evaluate(
    sessions: Sequence[Runs],
    samples: Samples,
    *,
    output: str | None = None,
    metric: Metric | None = None,
    track: Track = silent,
) -> tuple[Evaluation, ...]:
    """Runs every sample through every model; the first model is the baseline of the others.

    Args:
        sessions: Open models that take the same inputs.
        samples: Labelled samples give an accuracy, any samples a fidelity.
        output: Name of the output that is judged; the first one where it is not given.
        metric: What to judge by; by default what fits the labels and the output, with a note where nothing does.
        track: Shows progress.

    Raises:
        ModelRejectedError: A model does not run on a sample.
        DataRejectedError: A label is not a class of the model.
        UnknownNameError: A model has no output of that name.
        UnsupportedError: The metric that was asked for does not fit the output or the labels.
    """
    judged = samples.labelled and samples.valid_for_accuracy
    pending = [_Pending(FidelityMeter() if index else None, judged) for index in range(len(sessions))]
    names: list[str] = []
    for batch in track(samples.batches(BATCH_SIZE), "evaluating", -(-samples.examples // BATCH_SIZE)):
        reference: Mapping[str, Any] = {}
        names += batch.names
        for model, session in zip(pending, sessions, strict=True):
            results = session.run(batch.feed)
            reference = reference or results
            _compare(model, reference, results)
            _judge(model, _chosen(results, output), batch, metric)
    return tuple(_finished(model, pending[0], names) for model in pending)


def check_metric(session: Runs, samples: Samples, metric: Metric, output: str | None) -> None:
    """Judges the first batch, so that a metric that does not fit is refused before anything is timed.

    Raises:
        UsageError: The samples have no labels.
        UnsupportedError: The metric does not fit the output or the labels.
    """
    if not (samples.labelled and samples.valid_for_accuracy):
        raise UsageError(
            f"{metric.name} needs a label for every sample",
            where=samples.source,
            remedy="give --labels or leave it out",
        )
    batch = next(iter(samples.batches(BATCH_SIZE)))
    metric.table(_chosen(session.run(batch.feed), output), batch.labels)


def _chosen(results: Mapping[str, Any], output: str | None) -> Any:  # noqa: ANN401 - what the model gives
    name = output or next(iter(results))
    if name not in results:
        raise UnknownNameError("output", name, results)
    return results[name]


def _compare(model: _Pending, reference: Mapping[str, Any], results: Mapping[str, Any]) -> None:
    if model.meter is None:
        return
    try:
        model.meter.add(reference, results)
    except UnsupportedError as error:
        model.meter = None
        model.notes.append(f"fidelity not measured: {error}")


def _judge(model: _Pending, found: Any, batch: Batch, metric: Metric | None) -> None:  # noqa: ANN401
    if not model.judged:
        return
    try:
        chosen = metric or next(iter(model.tables), None) or fitting(found, batch.labels)
        model.tables.setdefault(chosen, []).append(chosen.table(found, batch.labels))
    except UnsupportedError as error:
        if metric is not None:
            raise
        model.judged = False
        model.notes.append(f"accuracy not measured: {error}")
        return
    if chosen is TOP1 and np.ndim(found) == 2 and found.shape[1] >= LEAST_CLASSES_FOR_TOP5:
        model.tables.setdefault(TOP5, []).append(TOP5.table(found, batch.labels))


def _finished(model: _Pending, baseline: _Pending, names: Sequence[str]) -> Evaluation:
    is_baseline = model is baseline
    metric = next(iter(model.tables), None) if model.judged else None
    if metric is None:
        return Evaluation(None, None, (), _fidelity(model), tuple(model.notes))
    table = model.table(metric)
    before = None if is_baseline else baseline.table(metric)
    if is_baseline:
        model.notes += _suspicions(metric, table)
    five, five_before = model.table(TOP5), None if is_baseline else baseline.table(TOP5)
    return Evaluation(
        accuracy=accuracy(metric, table, before),
        top5=None if five is None or metric is not TOP1 else accuracy(TOP5, five, five_before),
        flips=() if before is None else _flipped(metric, table, before, names),
        fidelity=_fidelity(model),
        notes=tuple(model.notes),
    )


def _fidelity(model: _Pending) -> Fidelity | None:
    return model.meter.result() if model.meter is not None else None


def _flipped(metric: Metric, table: Any, before: Any, names: Sequence[str]) -> tuple[Flip, ...]:  # noqa: ANN401
    if metric.right is None:
        return ()
    lost, gained = flips(metric.right(table), metric.right(before))
    found = [(number, Flip(names[number], "right to wrong")) for number in lost]
    found += [(number, Flip(names[number], "wrong to right")) for number in gained]
    return tuple(flip for _, flip in sorted(found, key=lambda pair: pair[0]))


def _suspicions(metric: Metric, table: Any) -> list[str]:  # noqa: ANN401
    """The baseline is judged first: one that knows no more than the most frequent class was fed wrongly, or is bad."""
    if metric.right is None or metric.per_class is None:
        return []
    label, share = most_frequent(table)
    right = float(metric.right(table).mean())
    if right > share:
        return []
    return [
        f"{100 * right:.1f} % right is no better than always answering class {label} ({100 * share:.1f} %): "
        "check the labels, the preprocessing and --output"
    ]
