"""what the system counted while a model ran -> share of that time in which other work held the processor.

A thread that is ready and has no processor waits in the run queue; the kernel counts that for every thread, quota
throttling included. What a hypervisor takes away it cannot see: that is a count of its own. Where the kernel does not
tell, a single thread that never sleeps waits for as long as its wall-clock time exceeds its CPU time.

Source: Linux, Documentation/scheduler/sched-stats.rst (/proc/<pid>/schedstat, second field); proc(5), `steal`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_WAITED_SHARE = 0.02
_STOLEN_SHARE = 0.01


@dataclass(frozen=True)
class Load:
    """What one stretch of runs used and lost.

    Attributes:
        wall_ms: Time that went by.
        cpu_ms: Processor time of the process, all threads together.
        waited_ms: Time its threads were ready and had no processor, summed; None where nothing tells.
    """

    wall_ms: float
    cpu_ms: float
    waited_ms: float | None


def waited_share(loads: Sequence[Load], threads: int) -> float | None:
    """Share of the time of `threads` threads that they spent waiting for a processor; None where nothing tells."""
    waited = [load.waited_ms for load in loads if load.waited_ms is not None]
    wall = sum(load.wall_ms for load in loads)
    return sum(waited) / (wall * threads) if len(waited) == len(loads) and wall > 0 else None


def notes(waited: float | None, stolen: tuple[int, int] | None) -> tuple[str, ...]:
    """What a reader should know about other work on the machine.

    Args:
        waited: Share of the time that the process waited for a processor.
        stolen: Ticks given to other virtual machines, and all ticks, over the measurement.
    """
    found = []
    if stolen is not None and stolen[1] > 0 and stolen[0] / stolen[1] > _STOLEN_SHARE:
        found.append(f"the hypervisor took {100 * stolen[0] / stolen[1]:.0f} % of the processor time away")
    if waited is not None and waited > _WAITED_SHARE:
        found.append(f"other work on this machine held the processor for {100 * waited:.0f} % of the time")
    return tuple(found)
