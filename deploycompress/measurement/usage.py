"""this process and machine -> memory peak, time in the run queue, stolen time; None where the system does not tell.

Source: proc(5), `VmHWM` of /proc/self/status and the `cpu` line of /proc/stat; Linux, sched-stats.rst; getrusage(2).
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

_STATUS = Path("/proc/self/status")
_STAT = Path("/proc/stat")
_TASKS = Path("/proc/self/task")


def peak_memory_bytes(status: Path = _STATUS) -> int | None:
    """Largest resident set of this process since it was started.

    `ru_maxrss` serves only where there is no /proc: on Linux a child inherits the peak of the parent that forked it.
    """
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    usage = _usage()
    return None if usage is None else int(usage.ru_maxrss) * (1 if sys.platform == "darwin" else 1024)


def waited_ns(tasks: Path = _TASKS) -> int | None:
    """Time that the threads of this process have been ready to run and had no processor, summed."""
    try:
        return sum(int((task / "schedstat").read_text().split()[1]) for task in tasks.iterdir())
    except (OSError, ValueError, IndexError):  # no /proc, no accounting in this kernel, or a thread that just ended
        return None


def stolen_ticks(stat: Path = _STAT) -> tuple[int, int] | None:
    """Clock ticks that the hypervisor gave to other machines, and all ticks, since boot."""
    if not stat.exists():
        return None
    ticks = [int(field) for field in stat.read_text().splitlines()[0].split()[1:9]]
    return ticks[7], sum(ticks)


def _usage() -> Any | None:  # noqa: ANN401 - resource.struct_rusage exists on Unix alone
    try:
        resource = importlib.import_module("resource")
    except ImportError:  # Windows has no getrusage
        return None
    return resource.getrusage(resource.RUSAGE_SELF)
