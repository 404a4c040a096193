"""open sessions -> their ratio in CPU time of the thread that runs them: neighbours move it least."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def cpu_rounds(sessions: Sequence[Session], feed: Feed) -> np.ndarray:
    """Thread CPU time of a run of each session [rounds, sessions] in ns, in one interleaved run (one thread each).

    A round runs all of them in turn and back again, so that a drift of the machine hits all alike.
    """
    runners = [session.runner(feed) for session in sessions]
    runs = [max(1, round(_BLOCK_NS / _cpu_ns(run, 3))) for run in runners]
    there = list(range(len(runners)))
    rounds = []
    for _ in range(_ROUNDS):
        spent = [0.0] * len(runners)
        for which in (*there, *reversed(there)):
            spent[which] += _cpu_ns(runners[which], runs[which]) / 2
        rounds.append(spent)
        there = [*there[1:], there[0]]
    return np.asarray(rounds, np.float64)


def _cpu_ns(run: Callable[[], object], runs: int) -> float:
    run()
    start = thread_time_ns()
    for _ in range(runs):
        run()
    return max(1.0, (thread_time_ns() - start) / runs)
