"""model files -> Report: latency, size, accuracy and memory of each, with intervals, against the first.

1. probe each file in a process of its own; 2. read the evaluation data; 3. time all models side by side, once per
provider and setting; 4. run the evaluation data through them; 5. compare, judge, say what was not measured and why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from deploycompress import __version__, data
from deploycompress.data import Samples
from deploycompress.errors import EnvironmentLacksError, UsageError
from deploycompress.flow import limits, sweep, verdict
from deploycompress.flow.devices import target_rows
from deploycompress.flow.doctor import clashing_wheels, installed
from deploycompress.flow.evaluate import Evaluation, check_metric, evaluate
from deploycompress.flow.layers import layer_errors, layer_times
from deploycompress.flow.rows import Conditions, measured_rows, swept
from deploycompress.flow.subjects import Subject, check_feed, subjects
from deploycompress.measurement import providers
from deploycompress.measurement.environment import environment
from deploycompress.measurement.metrics.choice import named
from deploycompress.measurement.metrics.metric import Metric
from deploycompress.records.progress import Track, silent
from deploycompress.records.report import DataSource, Gate, Report, Row, Settings, SkippedSample, SweepRow
from deploycompress.records.steps import StepOutcome
from deploycompress.runtime.session import CPU, Feed, Session, SessionConfig
from deploycompress.runtime.threads import available_threads
from deploycompress.targets import Target

_RANDOM_SAMPLES = 32


def bench(
    models: Sequence[Path],
    *,
    target: Target | None = None,
    eval_data: str | None = None,
    preprocess: str | None = None,
    labels: Path | None = None,
    tokenizer: Path | None = None,
    output: str | None = None,
    metric: str | None = None,
    limit: int | None = None,
    execution_providers: Sequence[str] | None = None,
    threads: Sequence[int] = (),
    batches: Sequence[int] = (1,),
    lengths: sweep.Lengths | None = None,
    instances: Sequence[int] = (),
    pin: bool = False,
    layers: bool = False,
    rounds: int = 30,
    seconds: float = 3.0,
    launches: int = 5,
    strict: bool = False,
    require_speedup: float | None = None,
    max_drop: float | None = None,
    fail_if: Sequence[str] = (),
    steps: Sequence[StepOutcome] = (),
    command: str = "",
    track: Track = silent,
) -> Report:
    """Measures models side by side; the first is the baseline.

    Args:
        models: ONNX files that take the same inputs.
        target: Its providers, threads and budgets are used where nothing else is asked for.
        eval_data: Samples for accuracy, fidelity and realistic latency inputs, as `data.open` takes them; random
            inputs without it, and no accuracy.
        preprocess: Image preprocessing, as `data.open` takes it.
        labels: File of labels, as `data.open` takes it.
        tokenizer: Tokenizer file, as `data.open` takes it.
        output: Name of the output that is judged; the first one where it is not given.
        metric: Name of the metric, or `module:function` (see `measurement.metrics.custom`); by default top-1 for class
            numbers and class scores, and Pearson's correlation for real numbers.
        limit: At most so many samples.
        execution_providers: Names such as "cpu" or "cuda"; all models are measured on each.
        threads: Numbers of intra-op threads; the target's, else all that are available.
        batches: Numbers of samples per run in the latency measurement.
        lengths: Sequence lengths. Models are timed at every combination of the three; the first makes the rows, on
            which limits are judged, and all make the sweep.
        instances: Also counts the samples a second of so many processes at once.
        pin: Confine each process to processors of its own.
        layers: Also times every node of every model, and measures the error of every layer against the first.
        rounds: At least so many interleaved rounds.
        seconds: At least so many seconds per model.
        launches: Fresh processes per model.
        strict: A provider that is absent or does not run the whole model is an error instead of a row that says so.
        require_speedup: Every other model must be so many times faster than the first.
        max_drop: No other model may lose more than this share of accuracy (0.01 for one point).
        fail_if: Conditions that no model may meet, such as "accuracy_drop > 0.5pt or p95_ms > 20" (see `flow.limits`).
        steps: What was done to the model before, for the report.
        command: The exact command, for the report.
        track: Shows progress.

    Raises:
        ModelRejectedError: A file is unusable.
        DataRejectedError: No sample is usable, or a label is no class of the model.
        UsageError: The models take different inputs, a condition is none, or a limit or a metric needs data that was
            not given.
        UnsupportedError: The metric that was asked for does not fit the output or the labels, or a batch or length does
            not fit a model.
        EnvironmentLacksError: With `strict`, a provider is absent or left work to another, or two wheels of ONNX
            Runtime were installed over each other.
    """
    if max_drop is not None and eval_data is None:
        raise UsageError("a largest accuracy drop needs labelled samples", remedy="add --eval")
    if metric is not None and eval_data is None:
        raise UsageError(f"the metric {metric} needs labelled samples", remedy="add --eval")
    for text in fail_if:
        limits.parse(text)
    judge = None if metric is None else named(metric)
    clash = clashing_wheels(installed())
    if clash is not None and strict:
        raise EnvironmentLacksError(clash.detail, remedy=clash.remedy)
    requested = _providers(execution_providers, target)
    here = environment()
    found = subjects(models)
    source = eval_data or f"random:{max(limit or _RANDOM_SAMPLES, sweep.LATENCY_FEEDS * max(batches))}"
    samples = data.open(
        source,
        found[0].signature,
        preprocess=preprocess,
        labels=labels,
        tokenizer=tokenizer,
        limit=limit if eval_data else None,
    )
    used = threads or [(target.threads if target is not None else 0) or available_threads()]
    cells = [_cell(found, samples, cell, lengths) for cell in sweep.cells(batches, lengths, used)]
    if judge is not None and providers.lacking(requested[0]) is None:
        first = Session(found[0].path, SessionConfig(providers=requested[0], threads=used[0]))
        check_metric(first, samples, judge, output)
    conditions = Conditions(rounds, seconds, launches, pin, strict)
    rows: list[Row] = []
    swept_rows: list[SweepRow] = []
    for chosen in requested:
        for number, (cell, feeds) in enumerate(cells):
            config = SessionConfig(providers=chosen, threads=cell.threads)
            measured = measured_rows(found, config, feeds, cell.batch, conditions, track)
            if len(cells) > 1 or instances:
                swept_rows += swept(found, measured, cell, config, feeds, instances, conditions, track)
            if number > 0:
                continue
            judged = _evaluate_on(found, measured, config, samples, output, judge, track)
            measured = [_with_evaluation(row, each) for row, each in zip(measured, judged, strict=True)]
            rows += _with_layers(measured, found, samples, feeds[0], config, track) if layers else measured
    if target is not None:
        rows = [row.model_copy(update={"notes": row.notes + verdict.over_budget(row, target)}) for row in rows]
    gates = _gates(rows, require_speedup, max_drop) + tuple(limits.gate(rows, text) for text in fail_if)
    notes = [] if target is None else [verdict.elsewhere(target, here.machine, here.cpu_flags)]
    notes += [] if clash is None else [f"{clash.detail}: {clash.remedy}"]
    notes += samples.notes
    if not samples.valid_for_accuracy:
        notes.append("inputs were random: latency may differ on real data")
    return Report(
        package_version=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        target=None if target is None else target.name,
        environment=here,
        settings=Settings(
            batch=cells[0][0].batch,
            sequence=cells[0][0].sequence,
            threads=cells[0][0].threads,
            pinned=pin,
            rounds=rounds,
            seconds=seconds,
            launches=launches,
        ),
        data=(_source(samples),),
        steps=tuple(steps),
        rows=tuple(rows),
        targets=target_rows(rows),
        sweep=tuple(swept_rows),
        gates=gates,
        notes=tuple(note for note in notes if note),
        verdict=verdict.summary(rows),
    )


def _providers(names: Sequence[str] | None, target: Target | None) -> list[tuple[str, ...]]:
    """The provider lists to measure on, each in order of preference."""
    if names:
        return [(providers.resolve(name),) for name in names]
    return [tuple(target.providers)] if target is not None else [(CPU,)]


def _cell(
    models: Sequence[Subject], samples: Samples, cell: sweep.Cell, lengths: sweep.Lengths | None
) -> tuple[sweep.Cell, tuple[Feed, ...]]:
    """A cell with the batch it really has, and its feeds, which every model takes."""
    feeds, batch = sweep.feeds(samples, models[0].signature, cell, lengths)
    for subject in models:
        check_feed(subject, feeds[0])
    return replace(cell, batch=batch), feeds


def _evaluate_on(
    models: Sequence[Subject],
    rows: Sequence[Row],
    config: SessionConfig,
    samples: Samples,
    output: str | None,
    metric: Metric | None,
    track: Track,
) -> list[Evaluation | None]:
    """Accuracy and fidelity of every model on these providers; None for all where they were not measured there."""
    if not all(row.measured for row in rows):
        return [None] * len(rows)
    sessions = [Session(subject.path, config) for subject in models]
    return list(evaluate(sessions, samples, output=output, metric=metric, track=track))


def _with_evaluation(row: Row, evaluation: Evaluation | None) -> Row:
    if evaluation is None:
        return row
    figures = ("accuracy", "top5", "flips", "fidelity")
    update: dict[str, object] = {name: getattr(evaluation, name) for name in figures}
    return row.model_copy(update=update | {"notes": row.notes + evaluation.notes})


def _with_layers(
    rows: Sequence[Row], models: Sequence[Subject], samples: Samples, feed: Feed, config: SessionConfig, track: Track
) -> list[Row]:
    """The rows with the figures of their layers, where they were measured on the provider that was asked for."""
    found = []
    for row, model in zip(track(rows, "timing layers", len(rows)), models, strict=True):
        errors = (
            () if model is models[0] or not row.measured else layer_errors(models[0].path, model.path, samples, config)
        )
        times = layer_times(model.path, feed, config) if row.measured else ()
        found.append(row.model_copy(update={"layers": times, "layer_errors": errors}))
    return found


def _gates(rows: Sequence[Row], least_speedup: float | None, most_drop: float | None) -> tuple[Gate, ...]:
    gates = []
    if least_speedup is not None:
        gates.append(verdict.require_speedup(rows, least_speedup))
    if most_drop is not None:
        gates.append(verdict.max_drop(rows, most_drop))
    return tuple(gates)


def _source(samples: Samples) -> DataSource:
    return DataSource(
        role="evaluation" if samples.valid_for_accuracy else "latency",
        source=samples.source,
        fingerprint=samples.fingerprint,
        samples=samples.examples,
        valid_for_accuracy=samples.valid_for_accuracy,
        skipped=tuple(SkippedSample(path=str(s.path), reason=s.reason) for s in samples.skipped),
    )
