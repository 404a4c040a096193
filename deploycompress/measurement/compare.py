"""two open sessions -> FASTER, SLOWER, NO DIFFERENCE or TOO NOISY, from rounds measured side by side in this process.

A round runs A B B A (the next one B A A B), so that a drift of the machine hits both alike; its outcome is
log(median of A / median of B). Rounds are correlated, so the unit is a part: eight stretches of consecutive rounds, or
the processes the rounds come from (see `latency`). The speed-up is exp(mean of the medians of the parts) with Student's
interval over them (batch means). How often a file differs from itself by this method: docs/method-latency.md.

Source: Kalibera and Jones, "Rigorous Benchmarking in Reasonable Time", ISMM 2013 (effect sizes with intervals, several
levels of repetition); Law, "Simulation Modeling and Analysis", section 9.5.3 (batch means).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from time import perf_counter_ns

import numpy as np

from deploycompress.measurement.bootstrap import Floats
from deploycompress.measurement.timing import Clock, runs_per_block, timed_block, warm_up
from deploycompress.records.measured import Comparison, Interval, Verdict
from deploycompress.runtime.session import Feed, Session

# Two loads of one file differ for good by where their weights and buffers landed in memory: by 0.4 to 1 % (standard
# deviation of the speed-up). An effect below three of these says nothing about the models, and an interval must clear
# one of them.
MIN_EFFECT = 0.03
LAYOUT = 0.01
# An interval that reaches beyond this cannot tell no difference from one that matters.
TELLS = 0.04
MIN_ROUNDS = 16
PARTS = 8
_WARM_UP_SHARE = 0.2


def quick_compare(
    baseline: Session,
    candidate: Session,
    feed: Feed,
    *,
    budget_s: float = 2.0,
    min_rounds: int = MIN_ROUNDS,
    min_effect: float = MIN_EFFECT,
    clock: Clock = perf_counter_ns,
) -> Comparison:
    """Compares the latency of two sessions on one feed within about `budget_s` seconds.

    At least `min_rounds` rounds run, however long they take.

    Args:
        baseline: What to compare with.
        candidate: What to judge.
        feed: Input of both.
        budget_s: Seconds to spend, warm-up included.
        min_rounds: At least so many rounds, eight or more.
        min_effect: Smallest relative difference that is called one.
        clock: What rounds are timed by; the time of this thread suits sessions of one thread on a busy machine.

    Raises:
        ModelRejectedError: One of them cannot run the feed.
    """
    for session in (baseline, candidate):
        session.run(feed)
    runners = (baseline.runner(feed), candidate.runner(feed))
    return compare_runners(*runners, budget_s=budget_s, min_rounds=min_rounds, min_effect=min_effect, clock=clock)


def compare_runners(
    baseline: Callable[[], object],
    candidate: Callable[[], object],
    *,
    budget_s: float,
    min_rounds: int = MIN_ROUNDS,
    min_effect: float = MIN_EFFECT,
    clock: Clock = perf_counter_ns,
) -> Comparison:
    """Compares two callables that each do one run."""
    budget_ns = int(budget_s * 1e9)
    slowest_ns = max(warm_up(run, int(budget_ns * _WARM_UP_SHARE / 2)) for run in (baseline, candidate))
    runs = runs_per_block(slowest_ns)
    rounds: list[tuple[float, float]] = []
    stop = perf_counter_ns() + int(budget_ns * (1 - _WARM_UP_SHARE))
    while len(rounds) < min_rounds or perf_counter_ns() < stop:
        rounds.append(_round(baseline, candidate, runs, clock, reverse=len(rounds) % 2 == 1))
    times = np.asarray(rounds)
    return judge(times[:, 0], times[:, 1], min_effect=min_effect)


def judge(
    baseline: Floats,
    candidate: Floats,
    *,
    parts: int = PARTS,
    min_effect: float = MIN_EFFECT,
    level: float = 0.95,
) -> Comparison:
    """The verdict on paired round times (any unit).

    FASTER or SLOWER needs both a speed-up of at least `min_effect` and an interval that keeps 1 % away from 1. What is
    neither is NO DIFFERENCE where the interval lies within 4 % of 1, else TOO NOISY to tell.

    Args:
        baseline: [rounds] time of the baseline in each round; NaN leaves a round out, but never all of a part.
        candidate: [rounds] time of the candidate in the same rounds; NaN likewise.
        parts: Number of stretches of consecutive rounds that count as one observation each: the processes where there
            are several, in equal parts and in order.
        min_effect: Smallest relative difference that is called one.
        level: Confidence level of the interval.

    Raises:
        ValueError: There are fewer rounds than parts, or fewer than two parts.
    """
    ratios = np.log(np.asarray(baseline, np.float64)) - np.log(np.asarray(candidate, np.float64))
    if not 2 <= parts <= len(ratios):
        raise ValueError(
            f"{len(ratios)} rounds cannot be judged in {parts} parts; it takes two or more, of one round each"
        )
    medians = np.array([np.nanmedian(part) for part in np.array_split(ratios, parts)])
    centre = float(medians.mean())
    reach = student_t(0.5 + level / 2, parts - 1) * float(medians.std(ddof=1)) / math.sqrt(parts)
    speedup, interval = math.exp(centre), Interval(math.exp(centre - reach), math.exp(centre + reach), level)
    verdict: Verdict = "NO DIFFERENCE"
    if interval.low > 1 + LAYOUT and speedup >= 1 + min_effect:
        verdict = "FASTER"
    elif interval.high < 1 / (1 + LAYOUT) and speedup <= 1 / (1 + min_effect):
        verdict = "SLOWER"
    elif interval.low < 1 / (1 + TELLS) or interval.high > 1 + TELLS:
        verdict = "TOO NOISY"
    return Comparison(speedup, interval, verdict, rounds=len(ratios))


@cache
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


def _round(
    baseline: Callable[[], object], candidate: Callable[[], object], runs: int, clock: Clock, *, reverse: bool
) -> tuple[float, float]:
    """Median run time of both in nanoseconds over one A B B A (or B A A B)."""
    order = (candidate, baseline, baseline, candidate) if reverse else (baseline, candidate, candidate, baseline)
    times = [timed_block(run, runs, clock) for run in order]
    outer, inner = np.median(times[0] + times[3]), np.median(times[1] + times[2])
    return (float(inner), float(outer)) if reverse else (float(outer), float(inner))
