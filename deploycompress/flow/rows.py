"""models on one list of providers at one setting -> rows: measured, or not measured and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deploycompress.errors import EnvironmentLacksError
from deploycompress.flow.subjects import Subject
from deploycompress.flow.sweep import Cell
from deploycompress.measurement import latency, providers
from deploycompress.measurement.throughput import throughput
from deploycompress.records.progress import Track
from deploycompress.records.report import MEASURED, Row, SweepRow
from deploycompress.runtime.session import Feed, SessionConfig
from deploycompress.runtime.threads import own_cpus


@dataclass(frozen=True)
class Conditions:
    """How rows are measured: the stop rule of `latency.measure`, pinning, and whether a fallback is an error."""

    rounds: int
    seconds: float
    launches: int
    pin: bool
    strict: bool


def measured_rows(
    models: Sequence[Subject],
    config: SessionConfig,
    feeds: tuple[Feed, ...],
    batch: int,
    conditions: Conditions,
    track: Track,
) -> list[Row]:
    """A row per model for one list of providers, without accuracy; the first model is the baseline.

    Raises:
        EnvironmentLacksError: Under strict conditions, a provider is absent or left work to another.
    """
    reason = providers.lacking(config.providers)
    if reason is not None:
        if conditions.strict:
            raise EnvironmentLacksError(reason, remedy="install the ONNX Runtime wheel that has it")
        return [_row(subject, models[0], config, f"not measured: {reason}") for subject in models]
    timed = latency.measure(
        [latency.Candidate(subject.path, config, feeds, batch) for subject in models],
        rounds=conditions.rounds,
        seconds=conditions.seconds,
        launches=conditions.launches,
        pin=own_cpus(0, config.threads) if conditions.pin else (),
        track=track,
    )
    rows = []
    baseline_ran = providers.fallback(timed[0].placement) is None
    for subject, found in zip(models, timed, strict=True):
        fallen, mixed = providers.fallback(found.placement), providers.mixed(found.placement)
        if conditions.strict and (fallen or mixed):
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
        contents=subject.contents,
        status=status,
        requested=config.providers[0],
    )


def swept(
    models: Sequence[Subject],
    rows: Sequence[Row],
    cell: Cell,
    config: SessionConfig,
    feeds: tuple[Feed, ...],
    instances: Sequence[int],
    conditions: Conditions,
    track: Track,
) -> list[SweepRow]:
    """The rows of one cell as those of a sweep, with the throughput of so many processes at once."""
    found = []
    if all(row.measured for row in rows):
        candidates = [latency.Candidate(subject.path, config, feeds, cell.batch) for subject in models]
        found = [
            throughput(
                candidates,
                instances=number,
                seconds=conditions.seconds,
                launches=max(2, conditions.launches),
                pin=conditions.pin,
                track=track,
            )
            for number in instances
        ]
    return [
        SweepRow(
            name=row.name,
            requested=row.requested,
            batch=cell.batch,
            sequence=cell.sequence,
            threads=cell.threads,
            status=row.status,
            latency=row.latency,
            comparison=row.comparison,
            throughput=tuple(each[index] for each in found),
            placement=row.placement,
            notes=row.notes,
        )
        for index, row in enumerate(rows)
    ]
