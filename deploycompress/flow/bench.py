"""model files -> Report: latency, size, accuracy and memory of each, with intervals, against the first.

1. probe each file in a process of its own; 2. read the evaluation data; 3. time all models side by side, once per
provider; 4. run the evaluation data through them; 5. compare, judge, say what was not measured and why.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from deploycompress import __version__, data
from deploycompress.data import Samples
from deploycompress.errors import EnvironmentLacksError, UnsupportedError, UsageError
from deploycompress.flow import limits, verdict
from deploycompress.flow.evaluate import Evaluation, check_metric, evaluate
from deploycompress.flow.subjects import Subject, check_feed, subjects
from deploycompress.measurement import latency, providers
from deploycompress.measurement.environment import environment
from deploycompress.measurement.metrics.choice import named
from deploycompress.measurement.metrics.metric import Metric
from deploycompress.records.progress import Track, silent
from deploycompress.records.report import MEASURED, DataSource, Gate, Report, Row, Settings, SkippedSample
from deploycompress.records.steps import StepOutcome
from deploycompress.runtime.session import CPU, Feed, Session, SessionConfig
from deploycompress.runtime.threads import available_threads
from deploycompress.targets import Target

_LATENCY_FEEDS = 4
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
    threads: int | None = None,
    batch: int = 1,
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
        threads: Intra-op threads; the target's, else all that are available.
        batch: Samples per run in the latency measurement.
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
        UnsupportedError: The metric that was asked for does not fit the output or the labels.
        EnvironmentLacksError: With `strict`, a provider is absent or left work to another.
    """
    if max_drop is not None and eval_data is None:
        raise UsageError("a largest accuracy drop needs labelled samples", remedy="add --eval")
    if metric is not None and eval_data is None:
        raise UsageError(f"the metric {metric} needs labelled samples", remedy="add --eval")
    for text in fail_if:
        limits.parse(text)
    judge = None if metric is None else named(metric)
    requested = _providers(execution_providers, target)
    here = environment()
    found = subjects(models)
    source = eval_data or f"random:{max(limit or _RANDOM_SAMPLES, _LATENCY_FEEDS * batch)}"
    samples = data.open(
        source,
        found[0].signature,
        preprocess=preprocess,
        labels=labels,
        tokenizer=tokenizer,
        limit=limit if eval_data else None,
    )
    feeds, batch = _latency_feeds(samples, batch)
    for subject in found:
        check_feed(subject, feeds[0])
    used = threads or (target.threads if target is not None else 0) or available_threads()
    if judge is not None and providers.lacking(requested[0]) is None:
        first = Session(found[0].path, SessionConfig(providers=requested[0], threads=used))
        check_metric(first, samples, judge, output)
    settings = Settings(batch=batch, threads=used, rounds=rounds, seconds=seconds, launches=launches)
    rows: list[Row] = []
    for chosen in requested:
        config = SessionConfig(providers=chosen, threads=used)
        measured = _measure_on(found, config, feeds, settings, strict=strict, track=track)
        evaluations = _evaluate_on(found, measured, config, samples, output, judge, track)
        rows += [_with_evaluation(row, evaluation) for row, evaluation in zip(measured, evaluations, strict=True)]
    if target is not None:
        rows = [row.model_copy(update={"notes": row.notes + verdict.over_budget(row, target)}) for row in rows]
    gates = _gates(rows, require_speedup, max_drop) + tuple(limits.gate(rows, text) for text in fail_if)
    notes = [] if target is None else [verdict.elsewhere(target, here.machine, here.cpu_flags)]
    notes += samples.notes
    if not samples.valid_for_accuracy:
        notes.append("inputs were random: latency may differ on real data")
    return Report(
        package_version=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        target=None if target is None else target.name,
        environment=here,
        settings=settings,
        data=(_source(samples),),
        steps=tuple(steps),
        rows=tuple(rows),
        gates=gates,
        notes=tuple(note for note in notes if note),
        verdict=verdict.summary(rows),
    )


def _providers(names: Sequence[str] | None, target: Target | None) -> list[tuple[str, ...]]:
    """The provider lists to measure on, each in order of preference."""
    if names:
        return [(providers.resolve(name),) for name in names]
    return [tuple(target.providers)] if target is not None else [(CPU,)]


def _latency_feeds(samples: Samples, batch: int) -> tuple[tuple[Feed, ...], int]:
    """The first few batches of one size, and that size: `batch`, or the fixed batch of the model for a `batch` of 1."""
    first = list(islice(samples.batches(batch), _LATENCY_FEEDS))
    found = len(first[0].labels)
    if batch not in (1, found):
        raise UnsupportedError(
            f"no batch of {batch} samples can be made from {samples.source}: the model's batch is fixed, the samples "
            "differ in shape, or there are too few",
            remedy="use --batch 1",
        )
    return tuple(b.feed for b in first if len(b.labels) == found), found


def _measure_on(
    models: Sequence[Subject],
    config: SessionConfig,
    feeds: tuple[Feed, ...],
    settings: Settings,
    *,
    strict: bool,
    track: Track,
) -> list[Row]:
    """A row per model for one list of providers, without accuracy."""
    reason = providers.lacking(config.providers)
    if reason is not None:
        if strict:
            raise EnvironmentLacksError(reason, remedy="install the ONNX Runtime wheel that has it")
        return [_row(subject, models[0], config, f"not measured: {reason}") for subject in models]
    timed = latency.measure(
        [latency.Candidate(subject.path, config, feeds, settings.batch) for subject in models],
        rounds=settings.rounds,
        seconds=settings.seconds,
        launches=settings.launches,
        track=track,
    )
    rows = []
    baseline_ran = providers.fallback(timed[0].placement) is None
    for subject, found in zip(models, timed, strict=True):
        fallen, mixed = providers.fallback(found.placement), providers.mixed(found.placement)
        if strict and (fallen or mixed):
            raise EnvironmentLacksError(
                fallen or mixed or "", where=str(subject.path), remedy="leave out --strict to measure it as it is"
            )
        row = _row(subject, models[0], config, MEASURED if fallen is None else f"not measured: {fallen}")
        update = {
            "latency": found.latency if fallen is None else None,
            "comparison": found.comparison if fallen is None and baseline_ran else None,
            "placement": found.placement,
            "peak_memory_bytes": found.peak_memory_bytes,
            "model_memory_bytes": found.model_memory_bytes,
            "notes": found.notes + ((mixed,) if mixed and fallen is None else ()),
        }
        rows.append(row.model_copy(update=update))
    return rows


def _row(subject: Subject, baseline: Subject, config: SessionConfig, status: str) -> Row:
    return Row(
        name=subject.name,
        path=str(subject.path),
        sha256=subject.sha256,
        size_bytes=subject.size.size_bytes,
        download_bytes=subject.size.download_bytes,
        smaller=None if subject is baseline else baseline.size.size_bytes / subject.size.size_bytes,
        status=status,
        requested=config.providers[0],
    )


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
