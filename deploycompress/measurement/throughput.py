"""several model files -> samples a second of N processes that run each of them at once, with an interval.

All processes of a model start a window together and run the same input until it ends; the rate of a window is the sum
of their rates. Windows of the models alternate (A B B A), every launch starts all processes anew, and a verdict comes
from the rates of the same launches as it does for latency: one window of one model is one round.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from typing import Protocol

import numpy as np

from deploycompress.measurement.compare import judge
from deploycompress.measurement.latency import Candidate
from deploycompress.measurement.process import Opened, Stream, Worker
from deploycompress.measurement.sections import quantile_interval
from deploycompress.records.measured import Interval, Throughput
from deploycompress.records.progress import Track, silent
from deploycompress.runtime.threads import own_cpus

_LEAST_WINDOW_MS = 100.0
_WARM_UP_MS = 200.0
_WINDOWS = 2  # of each model in a launch


class Runner(Protocol):
    """Opens one model and runs it on command; `process.Worker` is the one that measures."""

    def open(self) -> Opened:
        """Opens the model and runs it once."""
        ...

    def warm_up(self, feed: int, budget_ms: float) -> int:
        """Runs a feed until its time is stable; median time in nanoseconds."""
        ...

    def stream(self, feed: int, budget_ms: float) -> Stream:
        """Runs a feed over and over for so long."""
        ...


Start = Callable[[Candidate, int], AbstractContextManager[Runner]]


def throughput(
    candidates: Sequence[Candidate],
    *,
    instances: int,
    seconds: float = 3.0,
    launches: int = 5,
    pin: bool = False,
    start: Start | None = None,
    track: Track = silent,
) -> tuple[Throughput, ...]:
    """Runs `instances` processes of each candidate at once; the first candidate is the baseline of the others.

    Args:
        candidates: What to run; the first feed of each is used.
        instances: Processes of one model that run at the same time.
        seconds: At least so many seconds per candidate over all launches.
        launches: How often all processes are started anew, two or more.
        pin: Confine each process to processors of its own.
        start: Starts process number `i` of a candidate; the default is a worker process.
        track: Shows progress.

    Raises:
        ModelRejectedError: A model does not load or run, or crashes its process.
        EnvironmentLacksError: A provider is not installed, or memory ran out.
    """
    start = start or (
        lambda c, i: Worker(c.path, c.config, c.feeds[:1], pin=own_cpus(i, c.config.threads) if pin else ())
    )
    window_ms = max(_LEAST_WINDOW_MS, 1e3 * seconds / launches / _WINDOWS)
    rates: list[list[float]] = [[] for _ in candidates]
    with ThreadPoolExecutor(instances) as pool:
        for _ in track(range(launches), f"running {instances} at once", launches):
            with ExitStack() as stack:
                groups = [[stack.enter_context(start(c, i)) for i in range(instances)] for c in candidates]
                for group in groups:
                    list(pool.map(_prepare, group))
                order = list(range(len(groups)))
                for index in [*order, *reversed(order)]:
                    streams = pool.map(lambda runner: runner.stream(0, window_ms), groups[index])
                    runs_per_s = sum(stream.runs / stream.load.wall_ms * 1e3 for stream in streams)
                    rates[index].append(candidates[index].batch_size * runs_per_s)
    return tuple(_summary(rates[index], rates[0], instances, launches, index) for index in range(len(candidates)))


def _prepare(runner: Runner) -> None:
    runner.open()
    runner.warm_up(0, _WARM_UP_MS)


def _summary(
    rates: Sequence[float], baseline: Sequence[float], instances: int, launches: int, index: int
) -> Throughput:
    times = 1 / np.asarray(rates)  # seconds a sample
    interval = quantile_interval(times[:, None], 0.5, sections=launches)
    return Throughput(
        instances=instances,
        samples_per_s=1 / float(np.median(times)),
        interval=Interval(1 / interval.high, 1 / interval.low, interval.level),
        windows=len(rates),
        comparison=judge(1 / np.asarray(baseline), times, parts=launches) if index else None,
    )
