"""machine, affinity mask and container quota -> the number of threads that can really run.

ONNX Runtime sizes its pool from the host, which oversubscribes a container.
Source: Linux cgroup v2 `cpu.max` and cgroup v1 `cpu.cfs_quota_us` / `cpu.cfs_period_us`.
"""

from __future__ import annotations

import math
import os
from pathlib import Path


def available_threads(cgroup_root: Path = Path("/sys/fs/cgroup")) -> int:
    """Threads this process can run at once: min(affinity mask, ceil(cgroup quota)), at least 1."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_cpus(cgroup_root)
    return max(1, cpus if quota is None else min(cpus, math.ceil(quota)))


def own_cpus(process: int, threads: int) -> tuple[int, ...]:
    """Processors for process number `process` of `threads` threads, each of its own as long as there are enough."""
    if not hasattr(os, "sched_getaffinity"):
        return ()
    cpus = sorted(os.sched_getaffinity(0))
    return tuple(sorted({cpus[(process * threads + i) % len(cpus)] for i in range(threads)}))


def cgroup_cpus(root: Path) -> float | None:
    """CPUs granted by the container's quota (1.5 for 150 ms per 100 ms), or None where there is no limit."""
    try:
        quota, period = (root / "cpu.max").read_text().split()[:2]
    except (OSError, ValueError):
        try:
            quota = (root / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu" / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return None
    return int(quota) / int(period)
