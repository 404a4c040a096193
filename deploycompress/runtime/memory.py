"""machine and container limit -> bytes that this process can still take.

A container's limit counts pages of files too, which the kernel drops when memory is asked for; the inactive ones are
taken as free. MemAvailable of the machine knows nothing of the limit, so the smaller of both counts.
Source: Linux `/proc/meminfo`; cgroup v2 `memory.max`, `memory.current`, `memory.stat` and their names in cgroup v1.
"""

from __future__ import annotations

import re
from pathlib import Path


def available_memory_bytes(
    meminfo: Path = Path("/proc/meminfo"), cgroup_root: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """Bytes that can be allocated without swapping or being killed; None on a system that does not say."""
    kilobytes = _field(meminfo, r"MemAvailable:\s+(\d+)")
    bounds = [kilobytes * 1024 if kilobytes is not None else None, _cgroup_bytes(cgroup_root)]
    return min((bound for bound in bounds if bound is not None), default=None)


def _cgroup_bytes(root: Path) -> int | None:
    """What the container's limit leaves, or None where there is no limit."""
    for folder, limit, used in (
        (root, "memory.max", "memory.current"),
        (root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        most, taken = _field(folder / limit, r"(\d+)"), _field(folder / used, r"(\d+)")
        if most is not None and taken is not None:
            droppable = _field(folder / "memory.stat", r"(?m)^(?:total_)?inactive_file (\d+)") or 0
            return max(0, most - taken + min(droppable, taken))
    return None


def _field(path: Path, pattern: str) -> int | None:
    """The first number that `pattern` finds; None where there is no such file or number ("max")."""
    try:
        found = re.search(pattern, path.read_text())
    except OSError:
        return None
    return None if found is None else int(found[1])
