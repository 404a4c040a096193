"""several model files -> latency of each with intervals, and a verdict against the first.

Each model runs in a fresh process, `launches` times over, because a process keeps the memory layout it drew. Within a
launch every round visits all models forwards and backwards (A B C C B A), starting one further each time, so that a
drift of the machine and the place in the order hit all alike. Rounds end after at least `rounds` rounds and at least
`seconds` seconds per model. While a verdict is TOO NOISY, further launches follow, up to three times as many.

Source: Kalibera and Jones, "Rigorous Benchmarking in Reasonable Time", ISMM 2013 (launches and iterations);
Mytkowicz et al., "Producing Wrong Data Without Doing Anything Obviously Wrong!", ASPLOS 2009 (layout bias).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from time import monotonic
from typing import Protocol

import numpy as np

from deploycompress.measurement import contention
from deploycompress.measurement.bootstrap import Floats
from deploycompress.measurement.compare import PARTS, TELLS, judge
from deploycompress.measurement.contention import Load, waited_share
from deploycompress.measurement.drift import drift
from deploycompress.measurement.process import Block, Finished, Opened, Worker
from deploycompress.measurement.sections import quantile_interval
from deploycompress.measurement.timing import runs_per_block
from deploycompress.measurement.usage import stolen_ticks
from deploycompress.records.measured import Comparison, Latency, Placement
from deploycompress.records.progress import Track, silent
from deploycompress.runtime.session import Feed, SessionConfig

_LEAST_WARM_UP_MS = 100.0
_RUNS_FOR_INTERVALS = 10_000
_PATIENCE = 3
_QUIET = 0.02
_FEWEST_QUIET_ROUNDS = 3


@dataclass(frozen=True)
class Candidate:
    """One model to time.

    Attributes:
        path: The ONNX file.
        config: How to open it.
        feeds: Inputs, cycled through round by round; as many for every candidate.
        batch_size: Samples per feed, for the record.
    """

    path: Path
    config: SessionConfig
    feeds: tuple[Feed, ...]
    batch_size: int = 1


@dataclass(frozen=True)
class Measured:
    """What is known of one candidate after the last round.

    Attributes:
        latency: Its run times.
        comparison: Against the first candidate; None for the first itself.
        placement: Where its nodes ran.
        peak_memory_bytes: Peak of its process, interpreter and runtime included; None where the OS does not tell.
        model_memory_bytes: Growth of that peak since before the model was opened.
        notes: What a reader should know about the conditions.
    """

    latency: Latency
    comparison: Comparison | None
    placement: Placement
    peak_memory_bytes: int | None
    model_memory_bytes: int | None
    notes: tuple[str, ...]


class Sampler(Protocol):
    """Opens one model and times it on command; `process.Worker` is the one that measures."""

    def open(self) -> Opened:
        """Opens the model and runs it once."""
        ...

    def warm_up(self, feed: int, budget_ms: float) -> int:
        """Runs a feed until its time is stable; median time in nanoseconds."""
        ...

    def block(self, feed: int, runs: int) -> Block:
        """Times runs of a feed in a row."""
        ...

    def finish(self) -> Finished:
        """Peak memory and placement."""
        ...


Start = Callable[[Candidate], AbstractContextManager[Sampler]]


@dataclass
class _Record:
    opened: list[Opened] = field(default_factory=list)
    rounds: list[list[float]] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    loads: list[Load] = field(default_factory=list)
    quiet_ms: list[float] = field(default_factory=list)
    finished: Finished | None = None

    @property
    def medians_ms(self) -> Floats:
        """[rounds] median time of each round."""
        return np.array([np.median(times) for times in self.rounds])

    @property
    def table_ms(self) -> Floats:
        """[rounds, runs] equally many runs of every round, spread evenly over it; some ten thousand in all are enough.

        Rounds differ in length, and the first runs of a round differ from its last.
        """
        width = min(*(len(times) for times in self.rounds), max(1, _RUNS_FOR_INTERVALS // len(self.rounds)))
        return np.array([spread(times, width) for times in self.rounds])


def measure(
    candidates: Sequence[Candidate],
    *,
    rounds: int = 30,
    seconds: float = 3.0,
    launches: int = 5,
    pin: Sequence[int] = (),
    start: Start | None = None,
    track: Track = silent,
) -> tuple[Measured, ...]:
    """Times all candidates side by side; the first is the baseline of the others.

    Args:
        candidates: What to time.
        rounds: At least so many rounds over all launches.
        seconds: At least so many seconds per candidate over all launches.
        launches: Fresh processes per candidate, one after the other; below about five, chance layouts may mislead.
            Two or more may become three times as many on a noisy machine.
        pin: CPUs to confine each process to.
        start: Starts the sampler of a candidate; the default is a worker process.
        track: Shows progress.

    Raises:
        ModelRejectedError: A model does not load or run, or crashes its process.
        EnvironmentLacksError: A provider is not installed, or memory ran out.
        ValueError: The candidates differ in their number of feeds, or there are none.
    """
    feeds = {len(candidate.feeds) for candidate in candidates}
    if len(feeds) != 1 or 0 in feeds:
        raise ValueError(f"every candidate needs the same number of feeds, at least one; got {sorted(feeds)}")
    start = start or (lambda c: Worker(c.path, c.config, c.feeds, pin=pin))
    records = [_Record() for _ in candidates]
    least = max(math.ceil(rounds / launches), 1 if launches > 1 else 2)  # two sections, or no interval
    budget_s = seconds * len(candidates) / launches
    before, done = stolen_ticks(), 0

    def undecided() -> Iterator[int]:
        while 1 < launches <= done < _PATIENCE * launches and not _tells(records, done):
            yield done

    planned = track(range(launches), "measuring latency", launches)
    for done in chain(planned, track(undecided(), "measuring on, the machine is noisy")):
        with ExitStack() as stack:
            samplers = [stack.enter_context(start(candidate)) for candidate in candidates]
            # Later launches repeat the number of rounds of the first, so that all weigh the same.
            fixed = len(records[0].rounds) // done if done else None
            _one_launch(samplers, records, candidates, least, budget_s, fixed)
            for record, sampler in zip(records, samplers, strict=True):
                record.finished = sampler.finish()
        done += 1
    after = stolen_ticks()
    stolen = None if before is None or after is None else (after[0] - before[0], after[1] - before[1])
    return tuple(
        _summary(record, records[0], candidate, done, None if index else stolen, is_baseline=index == 0)
        for index, (record, candidate) in enumerate(zip(records, candidates, strict=True))
    )


def _judged(baseline: _Record, record: _Record, parts: int) -> Comparison:
    """The verdict, from the blocks in which neither had to wait for a processor, where a process has enough of them."""
    base, own = np.array(baseline.quiet_ms), np.array(record.quiet_ms)
    for rounds in np.array_split(np.arange(len(base)), parts):
        if np.isfinite(base[rounds] * own[rounds]).sum() < _FEWEST_QUIET_ROUNDS:
            base[rounds], own[rounds] = baseline.medians_ms[rounds], record.medians_ms[rounds]
    return judge(base, own, parts=parts)


def _tells(records: Sequence[_Record], launches: int) -> bool:
    """Whether no verdict is TOO NOISY; of a single model, whether its median is known within 4 %."""
    if len(records) > 1:
        return all(_judged(records[0], other, launches).verdict != "TOO NOISY" for other in records[1:])
    table = records[0].table_ms
    interval = quantile_interval(table, 0.5, sections=launches)
    return interval.high <= (1 + TELLS) ** 2 * interval.low


def _one_launch(
    samplers: Sequence[Sampler],
    records: Sequence[_Record],
    candidates: Sequence[Candidate],
    least: int,
    budget_s: float,
    fixed: int | None,
) -> None:
    """Opens, warms up, and runs the rounds of one launch."""
    feeds = len(candidates[0].feeds)
    for record, sampler in zip(records, samplers, strict=True):
        record.opened.append(sampler.open())
    warm_up_ms = max(_LEAST_WARM_UP_MS, 1e3 * budget_s / len(samplers))  # as long as it may be measured
    run_ns = [max(sampler.warm_up(feed, warm_up_ms / feeds) for feed in range(feeds)) for sampler in samplers]
    runs = [runs_per_block(time) for time in run_ns]
    stop, done = monotonic() + budget_s, 0
    while done < fixed if fixed is not None else (done < least or monotonic() < stop):
        times: list[list[float]] = [[] for _ in samplers]
        quiet: list[list[float]] = [[] for _ in samplers]
        for index in _order(len(samplers), done):
            block = samplers[index].block(done % feeds, runs[index])
            times[index] += block.times_ms
            quiet[index] += block.times_ms if (waited_share([block.load], 1) or 0.0) <= _QUIET else ()
            records[index].cpu_ms.append(block.cpu_ms)
            records[index].loads.append(block.load)
        for record, round_times, quiet_times in zip(records, times, quiet, strict=True):
            record.rounds.append(round_times)
            record.quiet_ms.append(float(np.median(quiet_times)) if quiet_times else math.nan)
        done += 1


def _order(count: int, number: int) -> Iterator[int]:
    """Order of the candidates in round `number`: rotated, then the same backwards."""
    forwards = [(index + number) % count for index in range(count)]
    yield from forwards
    yield from reversed(forwards)


def spread(times: Sequence[float], count: int) -> list[float]:
    """`count` of the times at even distances, the first and the last among them where there are two or more."""
    return [times[round(position)] for position in np.linspace(0, len(times) - 1, count)]


def _summary(
    record: _Record,
    baseline: _Record,
    candidate: Candidate,
    launches: int,
    stolen: tuple[int, int] | None,
    *,
    is_baseline: bool,
) -> Measured:
    assert record.finished is not None
    table, medians = record.table_ms, record.medians_ms
    runs = np.concatenate([np.asarray(times) for times in record.rounds])
    sections = launches if launches > 1 else min(PARTS, len(table))
    bounds = [quantile_interval(table, q, sections=sections) for q in (0.5, 0.95)]
    median, p90, p95, p99 = (float(value) for value in np.quantile(table, [0.5, 0.9, 0.95, 0.99]))
    # A machine drifts over the whole measurement, a process from its own start: the mean over the launches shows that.
    views = (medians, np.mean([part / np.median(part) for part in np.split(medians, launches)], axis=0))
    moved = [found for view in views if (found := drift(view)) is not None]
    worst = max(moved, key=lambda found: abs(found.change), default=None)
    unstable = any(found.unstable for found in moved)
    waited = waited_share(record.loads, record.finished.placement.threads)
    notes = contention.notes(waited, stolen)
    if unstable and worst is not None:
        notes = (f"UNSTABLE: the times drifted by {100 * worst.change:+.0f} % during the measurement", *notes)
    latency = Latency(
        median_ms=median,
        median_interval=bounds[0],
        p95_ms=p95,
        p95_interval=bounds[1],
        load_ms=float(np.median([opened.load_ms for opened in record.opened])),
        first_run_ms=float(np.median([opened.first_run_ms for opened in record.opened])),
        rounds=len(record.rounds),
        runs=len(runs),
        batch_size=candidate.batch_size,
        launches=launches,
        min_ms=float(runs.min()),
        max_ms=float(runs.max()),
        p90_ms=p90,
        p99_ms=p99,
        drift=None if worst is None else worst.change,
        stable=not unstable,
        cpu_ms=float(np.median(record.cpu_ms)),
        waited_share=waited,
    )
    comparison = None if is_baseline else _judged(baseline, record, sections)
    if comparison is not None and comparison.verdict == "TOO NOISY":
        low, high = comparison.interval.low, comparison.interval.high
        notes = (
            f"TOO NOISY to tell: after {launches} processes the speed-up is anywhere from {low:.2f} to {high:.2f}",
            *notes,
        )
    peak, empty = record.finished.peak_bytes, record.opened[-1].empty_bytes
    grown = None if peak is None or empty is None else peak - empty
    return Measured(latency, comparison, record.finished.placement, peak, grown, notes)
