"""this machine -> Environment, so that a figure can be read beside what it was measured on.

Source: proc(5), /proc/cpuinfo (`flags` on x86, `Features` on Arm) and the cpufreq sysfs of Linux.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

import numpy as np

from deploycompress.records.environment import Environment
from deploycompress.runtime.session import onnxruntime
from deploycompress.runtime.threads import available_threads, cgroup_cpus

_FLAGS = (
    *("sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512_vnni", "avx_vnni", "avx512_bf16"),
    *("avx512_fp16", "amx_tile", "amx_int8", "amx_bf16"),
    *("asimd", "asimdhp", "asimddp", "fphp", "i8mm", "bf16", "sve", "sve2", "sme"),
)
_CPUINFO = Path("/proc/cpuinfo")
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def environment() -> Environment:
    """Reads the machine and the software.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
    """
    ort = onnxruntime()
    model, flags = cpu_info(_CPUINFO.read_text() if _CPUINFO.exists() else "")
    cpus = os.cpu_count() or 1
    affinity = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(cpus)
    return Environment(
        cpu=model or platform.processor() or platform.machine(),
        machine=platform.machine(),
        cpu_flags=flags,
        cpus=cpus,
        affinity=tuple(affinity),
        cgroup_cpus=cgroup_cpus(Path("/sys/fs/cgroup")),
        threads=available_threads(),
        memory_bytes=_memory_bytes(),
        governor=_GOVERNOR.read_text().strip() if _GOVERNOR.exists() else None,
        load_average=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        os=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        onnxruntime=ort.__version__,
        providers=tuple(ort.get_available_providers()),
        numpy=np.__version__,
    )


def cpu_info(text: str) -> tuple[str, tuple[str, ...]]:
    """Model name and the extensions of interest from the text of /proc/cpuinfo; empty where it does not say."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    present = set((fields.get("flags") or fields.get("Features") or "").split())
    arm = "CPU implementer" in fields
    part = f"Arm implementer {fields['CPU implementer']} part {fields.get('CPU part', '?')}" if arm else ""
    return fields.get("model name") or fields.get("Model") or part, tuple(f for f in _FLAGS if f in present)


def _memory_bytes() -> int | None:
    if not hasattr(os, "sysconf"):
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
