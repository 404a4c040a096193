"""two open sessions -> FASTER, SLOWER or NO DIFFERENCE, from rounds measured side by side in this process.

A round runs A B B A (the next one B A A B), so that a drift of the machine hits both alike; its outcome is
log(median of A / median of B). The speed-up is exp(median over rounds), its interval a block bootstrap over rounds.
Where the rounds come from several processes (see `latency`), the process is the unit: exp(mean of the medians of each),
with Student's interval.

Source: Kalibera and Jones, "Rigorous Benchmarking in Reasonable Time", ISMM 2013 (effect-size intervals instead of bare
means); Georges, Buytaert and Eeckhout, "Statistically Rigorous Java Performance Evaluation", OOPSLA 2007.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from time import perf_counter_ns

import numpy as np

from deploycompress.measurement import bootstrap
from deploycompress.measurement.bootstrap import Floats
from deploycompress.measurement.timing import runs_per_block, timed_block, warm_up
from deploycompress.records.measured import Comparison, Interval, Verdict
from deploycompress.runtime.session import Feed, Session

# Two sessions of the same file differ for good by where their weights and buffers landed in memory; see the A/A
# figures in docs/method-latency.md. Below this ratio a difference says nothing about the models.
MIN_EFFECT = 0.02
MIN_ROUNDS = 16
_WARM_UP_SHARE = 0.2


def quick_compare(
    baseline: Session,
    candidate: Session,
    feed: Feed,
    *,
    budget_s: float = 2.0,
    min_rounds: int = MIN_ROUNDS,
    min_effect: float = MIN_EFFECT,
    seed: int = 0,
) -> Comparison:
    """Compares the latency of two sessions on one feed within about `budget_s` seconds.

    At least `min_rounds` rounds run, however long they take.

    Raises:
        ModelRejectedError: One of them cannot run the feed.
    """
    for session in (baseline, candidate):
        session.run(feed)
    runners = (baseline.runner(feed), candidate.runner(feed))
    return compare_runners(*runners, budget_s=budget_s, min_rounds=min_rounds, min_effect=min_effect, seed=seed)


def compare_runners(
    baseline: Callable[[], object],
    candidate: Callable[[], object],
    *,
    budget_s: float,
    min_rounds: int = MIN_ROUNDS,
    min_effect: float = MIN_EFFECT,
    seed: int = 0,
) -> Comparison:
    """Compares two callables that each do one run."""
    budget_ns = int(budget_s * 1e9)
    slowest_ns = max(warm_up(run, int(budget_ns * _WARM_UP_SHARE / 2)) for run in (baseline, candidate))
    runs = runs_per_block(slowest_ns)
    rounds: list[tuple[float, float]] = []
    stop = perf_counter_ns() + int(budget_ns * (1 - _WARM_UP_SHARE))
    while len(rounds) < min_rounds or perf_counter_ns() < stop:
        rounds.append(_round(baseline, candidate, runs, reverse=len(rounds) % 2 == 1))
    times = np.asarray(rounds)
    return judge(times[:, 0], times[:, 1], min_effect=min_effect, seed=seed)


def judge(
    baseline: Floats,
    candidate: Floats,
    *,
    launches: int = 1,
    min_effect: float = MIN_EFFECT,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """The verdict on paired round times (any unit).

    FASTER or SLOWER needs both an interval that leaves 1 out and a speed-up beyond `min_effect`.

    Args:
        baseline: [rounds] time of the baseline in each round.
        candidate: [rounds] time of the candidate in the same rounds.
        launches: Number of processes the rounds come from, in equal parts and in order.
        min_effect: Smallest relative difference that is called one.
        level: Confidence level of the interval.
        seed: Of the bootstrap.
    """
    ratios = np.log(np.asarray(baseline, np.float64)) - np.log(np.asarray(candidate, np.float64))
    if launches > 1:
        centre, bounds = _over_launches(ratios, launches, level)
    else:
        centre = float(np.median(ratios))
        bounds = bootstrap.interval(ratios, bootstrap.median, level=level, block=block_length(len(ratios)), seed=seed)
    interval, speedup = Interval(math.exp(bounds.low), math.exp(bounds.high), level), math.exp(centre)
    verdict: Verdict = "NO DIFFERENCE"
    if interval.low > 1 and speedup >= 1 + min_effect:
        verdict = "FASTER"
    elif interval.high < 1 and speedup <= 1 / (1 + min_effect):
        verdict = "SLOWER"
    return Comparison(speedup, interval, verdict, rounds=len(ratios))


def _over_launches(ratios: Floats, launches: int, level: float) -> tuple[float, Interval]:
    """Mean of the launch medians and its Student interval: the process is the unit that was replicated."""
    medians = np.array([np.median(part) for part in np.split(ratios, launches)])
    centre = float(medians.mean())
    reach = student_t(0.5 + level / 2, launches - 1) * float(medians.std(ddof=1)) / math.sqrt(launches)
    return centre, Interval(centre - reach, centre + reach, level)


def student_t(p: float, freedom: int) -> float:
    """The `p` quantile (0.5 < p < 1) of Student's t distribution, by bisection of the integrated density."""
    scale = math.gamma((freedom + 1) / 2) / (math.sqrt(freedom * math.pi) * math.gamma(freedom / 2))
    low, high = 0.0, 1e4
    while high - low > 1e-6 * max(1.0, low):
        middle = (low + high) / 2
        # With t = sqrt(freedom) tan(a) the density becomes cos(a)^(freedom - 1), smooth on a bounded range.
        end, steps = math.atan(middle / math.sqrt(freedom)), 2000
        midpoints = (np.arange(steps) + 0.5) * (end / steps)
        area = float((np.cos(midpoints) ** (freedom - 1)).mean()) * end * math.sqrt(freedom) * scale
        low, high = (middle, high) if area < p - 0.5 else (low, middle)
    return (low + high) / 2


def block_length(rounds: int) -> int:
    """Rounds drawn together by the bootstrap: the usual n^(1/3)."""
    return max(1, round(math.cbrt(rounds)))


def _round(
    baseline: Callable[[], object], candidate: Callable[[], object], runs: int, *, reverse: bool
) -> tuple[float, float]:
    """Median run time of both in nanoseconds over one A B B A (or B A A B)."""
    order = (candidate, baseline, baseline, candidate) if reverse else (baseline, candidate, candidate, baseline)
    times = [timed_block(run, runs) for run in order]
    outer, inner = np.median(times[0] + times[3]), np.median(times[1] + times[2])
    return (float(inner), float(outer)) if reverse else (float(outer), float(inner))
