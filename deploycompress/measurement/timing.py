"""a callable that runs once -> its run times in nanoseconds, by the monotonic wall clock or another."""

from __future__ import annotations

import math
from collections.abc import Callable
from time import perf_counter_ns

import numpy as np

_BLOCK_NS = 1_000_000
_WINDOW = 5
_STABLE = 0.05
Clock = Callable[[], int]
"""Nanoseconds."""


def timed_block(run: Callable[[], object], runs: int, clock: Clock = perf_counter_ns) -> list[int]:
    """Times of `runs` runs in a row (ns).

    One run before them is not counted: it finds the caches as the previous model left them, and a deployed model that
    runs in a loop does not.
    """
    run()
    return run_times(run, runs, clock)


def run_times(run: Callable[[], object], runs: int, clock: Clock = perf_counter_ns) -> list[int]:
    """Times of `runs` runs in a row (ns), the first one included."""
    times = []
    for _ in range(runs):
        start = clock()
        run()
        times.append(clock() - start)
    return times


def runs_per_block(run_ns: int) -> int:
    """Runs that together last about a millisecond, so that a block outlasts the clock's and scheduler's grain."""
    return max(1, math.ceil(_BLOCK_NS / max(1, run_ns)))


def warm_up(run: Callable[[], object], budget_ns: int) -> int:
    """Runs until two windows of five runs agree within 5 % or the budget is spent; returns the last median (ns)."""
    stop = perf_counter_ns() + budget_ns
    before = float(np.median(timed_block(run, _WINDOW)))
    while perf_counter_ns() < stop:
        now = float(np.median(timed_block(run, _WINDOW)))
        if abs(now - before) <= _STABLE * before:
            return int(now)
        before = now
    return int(before)
