"""two open sessions -> their ratio in CPU time of the thread that runs them: neighbours move it least."""

from __future__ import annotations

from collections.abc import Callable
from time import thread_time_ns

import numpy as np

from deploycompress.measurement.compare import judge
from deploycompress.records.measured import Comparison
from deploycompress.runtime.session import Feed, Session

_BLOCK_NS, _ROUNDS = 3_000_000, 24


def cpu_compare(before: Session, after: Session, feed: Feed) -> Comparison:
    """Thread CPU time of `after` against `before` (one thread each), rounds A B B A and B A A B."""
    runners = (before.runner(feed), after.runner(feed))
    runs = max(1, round(_BLOCK_NS / min(_cpu_ns(run, 3) for run in runners)))
    rounds = []
    for number in range(_ROUNDS):
        times: list[list[float]] = [[], []]
        for which in (0, 1, 1, 0) if number % 2 else (1, 0, 0, 1):
            times[which].append(_cpu_ns(runners[which], runs))
        rounds.append([sum(side) for side in times])
    spent = np.asarray(rounds, np.float64)
    return judge(spent[:, 0], spent[:, 1])


def _cpu_ns(run: Callable[[], object], runs: int) -> float:
    run()
    start = thread_time_ns()
    for _ in range(runs):
        run()
    return max(1.0, (thread_time_ns() - start) / runs)
