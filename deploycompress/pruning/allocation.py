"""error curves, what a run costs, a limit on it -> how many units of each group go.

Step by step the group is cut further in which the next error buys most, by as much as buys most,

    argmin over groups and widths of (error there - error here) / (cost here - cost there)

until the cost is within the limit: for convex curves and costs that add up this is the optimum of the knapsack. Where a
cost is a product of widths, it is what a removed unit saves as things stand. With `by_unit` every unit counts the same
(one threshold on scores) instead of what it saves.

Source: Frantar and Alistarh, "SPDY", ICML 2022 (arXiv:2201.09096), section 3 (error per saved time, layer by layer).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from deploycompress.pruning.curves import Curve, Floats
from deploycompress.pruning.groups import Group
from deploycompress.pruning.labels import Array
from deploycompress.pruning.work import Bill

_LEVELS = 32  # widths of a group that are looked at


def levels(group: Group, multiple: int) -> Array:
    """Numbers of units that may go: what is left is a multiple of `multiple`, or 1 unit at least; ascending from 0."""
    step = multiple if group.width == 1 else 1
    step *= max(1, -(-group.units // (step * _LEVELS)))
    kept = np.arange(step, group.units, step)
    return np.asarray([0, *(group.units - kept[::-1])], np.int64)


def allocate(
    curves: Mapping[Group, Curve],
    allowed: Mapping[Group, Array],
    bill: Bill,
    limit: float,
    *,
    by_unit: bool = False,
) -> dict[Group, int] | None:
    """How many units of each group go, where any do; None where the limit is out of reach.

    Args:
        curves: By group, those of `bill.work`.
        allowed: Numbers of units that may go (see `levels`).
        bill: What a run costs.
        limit: What it may cost.
        by_unit: Whether errors count against units instead of cost.
    """
    groups = bill.work.groups
    gone = np.zeros(len(groups))
    cost = bill.total(gone)
    while cost > limit:
        best: tuple[float, int, int, float] | None = None
        for number, group in enumerate(groups):
            found = _next(curves[group], allowed[group], bill, gone, number, limit, by_unit=by_unit)
            if found is not None and (best is None or found[0] < best[0]):
                best = (found[0], number, *found[1:])
        if best is None:
            return None
        _, number, count, cost = best
        gone[number] = count
    return {group: int(count) for group, count in zip(groups, gone, strict=True) if count}


def least(allowed: Mapping[Group, Array], bill: Bill) -> float:
    """What a run costs with everything gone that may go."""
    return bill.total(np.asarray([float(allowed[group][-1]) for group in bill.work.groups]))


def _next(
    curve: Curve,
    allowed: Array,
    bill: Bill,
    gone: Floats,
    number: int,
    limit: float,
    *,
    by_unit: bool,
) -> tuple[float, int, float] | None:
    """Of one group: error per saving of its best next width, the units gone there, the cost there."""
    here = int(gone[number])
    counts = allowed[allowed > here]
    if not counts.size:
        return None
    costs = bill.along(gone, number, np.concatenate([[here], counts]))
    saved = counts - here if by_unit else costs[0] - costs[1:]
    if not (saved > 0).any() or costs[1:].min() >= costs[0]:
        return None
    errors = curve.errors[counts] - curve.errors[here]
    slopes = np.where(saved > 0, errors / np.where(saved > 0, saved, 1), np.inf)
    best = int(np.argmin(slopes))
    enough = np.flatnonzero(costs[1:] <= limit)
    if enough.size and enough[0] < best:
        best = int(enough[0])
    return float(slopes[best]), int(counts[best]), float(costs[best + 1])
