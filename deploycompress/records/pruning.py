"""The names of what `prune` is told: which units go, and how many of each group."""

from __future__ import annotations

from typing import Literal, get_args

Score = Literal["l1", "l2", "batchnorm", "lamp", "apoz", "activation", "second-order", "random"]
Allocation = Literal["uniform", "global", "lamp", "sensitivity", "latency"]

SCORES: tuple[Score, ...] = get_args(Score)
ALLOCATIONS: tuple[Allocation, ...] = get_args(Allocation)
FROM_SAMPLES: tuple[Score, ...] = ("apoz", "activation", "second-order")


def default_allocation(*, timed: bool, has_samples: bool) -> Allocation:
    """What shares an amount out where nothing was asked for.

    Args:
        timed: Whether a speed-up was asked for.
        has_samples: Whether there are samples to measure output errors on.
    """
    if timed:
        return "latency"
    return "sensitivity" if has_samples else "uniform"
