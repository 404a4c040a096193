"""a speed-up or a limit on accuracy -> how much goes: the amount whose model, made and measured, comes nearest to it.

speed-up   time falls nearly linearly with the amount, so the next one is where the line between the two measured
ones around the goal meets it; repair does not change the speed and is left for the end
limit      bisection, every trial cut, repaired and judged as a whole; the largest amount that holds is kept
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from deploycompress.errors import UnsupportedError
from deploycompress.flow.cutting import Pruned, Subject, cut, opened, repaired
from deploycompress.flow.judge import Judge, Score
from deploycompress.flow.widths import Widths
from deploycompress.measurement.compare import quick_compare
from deploycompress.records.progress import Track

SLOWEST, FASTEST = 1.45 / 1.5, 1.65 / 1.5
"""How far below and above the speed-up that was asked for a measured one may lie."""
_NEAR = 0.02
_TRIALS = 8
_TIMED_S = 3.0
_FINE = 0.02  # of all there is: amounts that are nearer to one another are one


@dataclass(frozen=True)
class Trial:
    """An amount that was tried.

    Attributes:
        amount: The share to save (see `widths`).
        units: How many units went.
        speedup: Against the model as given; None where accuracy was judged.
        said: What it reached, in words.
        met: Whether that is what was asked for.
    """

    amount: float
    units: int
    speedup: float | None
    said: str
    met: bool


def by_speed(found: Subject, widths: Widths, wanted: float, track: Track) -> tuple[Pruned, tuple[Trial, ...]]:
    """The cut model that is nearest to `wanted` times as fast as the model as given, not repaired.

    Args:
        found: The model and its groups.
        widths: What goes for any amount.
        wanted: Above 1.
        track: Shows progress.

    Raises:
        UnsupportedError: Even with everything gone that may go, it is not as fast.
    """
    at: dict[float, float] = {0.0: 1.0}  # time against the model as given, by amount
    made: dict[float, Pruned] = {}
    trials: list[Trial] = []
    amount = 1 - 1 / wanted
    for _ in track(range(_TRIALS), "looking for the speed"):
        amount = min(amount, widths.most)
        pruned = cut(found, widths.at(amount))
        if not pruned.gone:
            break
        session = opened(found, pruned)
        clock = time.thread_time_ns if session.threads == 1 else time.perf_counter_ns
        compared = quick_compare(found.given.original, session, found.given.timed, budget_s=_TIMED_S, clock=clock)
        speed = compared.speedup
        at[amount], made[amount] = 1 / speed, pruned
        met = wanted * SLOWEST <= speed <= wanted * FASTEST
        units = sum(len(gone) for gone in pruned.gone.values())
        trials.append(Trial(amount, units, speed, f"{speed:.2f}x", met))
        if abs(math.log(speed / wanted)) < _NEAR:
            break
        if amount == widths.most and speed < wanted * SLOWEST:
            raise UnsupportedError(
                f"{wanted:g}x is out of reach: with all gone that may go, it ran at {speed:.2f}x",
                remedy="ask for less, or leave out --exclude and --round-to",
            )
        following = _next(at, 1 / wanted, widths.most)
        if any(abs(following - tried) < _FINE / 4 for tried in made):
            break
        amount = following
    if not made:
        raise UnsupportedError("nothing can go: the groups are too small", remedy="give a smaller --round-to")
    best = min(made, key=lambda tried: abs(math.log(wanted * at[tried])))
    return made[best], tuple(trials)


def _next(at: dict[float, float], wanted: float, most: float) -> float:
    """Where the line through the measured times around `wanted` meets it; beyond the last where all are above."""
    slow = max(amount for amount, time in at.items() if time > wanted or amount == 0)
    fast = [amount for amount, time in at.items() if time <= wanted and amount > slow]
    if not fast:
        before = max((amount for amount in at if amount < slow), default=0.0)
        slope = (at[before] - at[slow]) / (slow - before) if slow > before else 1.0
        return min(most, slow + max(_FINE, (at[slow] - wanted) / max(slope, 0.25)))
    end = min(fast)
    share = (at[slow] - wanted) / max(at[slow] - at[end], 1e-9)
    return slow + min(0.9, max(0.1, share)) * (end - slow)


def by_limit(
    found: Subject, widths: Widths, judge: Judge, *, repair: bool, track: Track
) -> tuple[Pruned, Score, tuple[Trial, ...]]:
    """The most that can go while the limit holds; the least that was tried, where it holds for none.

    Args:
        found: The model and its groups.
        widths: What goes for any amount.
        judge: Scores models.
        repair: Whether layers behind a cut are refitted.
        track: Shows progress.

    Raises:
        UnsupportedError: Nothing may go.
        UsageError: The samples do not allow the figure that the limit is about.
    """
    started = time.monotonic()
    held, missed = 0.0, widths.most
    best: tuple[Pruned, Score] | None = None
    least: tuple[Pruned, Score] | None = None
    trials: list[Trial] = []
    while len(trials) < _TRIALS and missed - held > _FINE and not _spent(started, judge, trials):
        amount = (held + missed) / 2 if trials else min(0.25, missed)
        pruned = cut(found, widths.at(amount))
        if not pruned.gone:
            held = amount
            continue
        pruned = repaired(found, pruned, track) if repair else pruned
        score = judge(opened(found, pruned), track)
        units = sum(len(gone) for gone in pruned.gone.values())
        trials.append(Trial(amount, units, None, score.said, score.met))
        if score.met:
            held, best = amount, (pruned, score)
        else:
            missed, least = amount, (pruned, score)
    chosen = best or least
    if chosen is None:
        raise UnsupportedError("nothing can go: the groups are too small", remedy="give a smaller --round-to")
    return *chosen, tuple(trials)


def _spent(started: float, judge: Judge, trials: list[Trial]) -> bool:
    return bool(trials) and time.monotonic() - started > judge.goal.budget_s
