from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from deploycompress.measurement.usage import involuntary_switches, peak_memory_bytes, stolen_ticks


def test_peak_memory_is_that_of_the_process_not_of_its_parent() -> None:
    # 200 MB in the parent must not show in the child, which `ru_maxrss` would inherit.
    ballast = bytearray(200_000_000)
    code = "from deploycompress.measurement.usage import peak_memory_bytes as p; print(p())"
    child = int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    own = peak_memory_bytes()
    assert own is not None
    assert own > 200_000_000 > child > 5_000_000
    assert len(ballast) == 200_000_000


def test_memory_peak_grows_with_what_is_touched() -> None:
    before = peak_memory_bytes()
    ballast = bytearray(b"x" * 400_000_000)
    after = peak_memory_bytes()
    assert before is not None
    assert after is not None
    assert after >= 400_000_000
    assert len(ballast) > 0


def test_systems_without_proc_fall_back_or_say_nothing(tmp_path: Path) -> None:
    assert stolen_ticks(tmp_path / "stat") is None
    peak = peak_memory_bytes(tmp_path / "status")
    assert peak is None or peak > 5_000_000


def test_steal_is_the_eighth_column(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  10 20 30 40 50 60 70 8 999 999\ncpu0 1 2 3\n")
    assert stolen_ticks(stat) == (8, 288)  # guest time is already part of user time


def test_switches_never_go_backwards() -> None:
    first, second = involuntary_switches(), involuntary_switches()
    assert first is not None
    assert second is not None
    assert 0 <= first <= second
