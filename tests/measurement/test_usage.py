from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deploycompress.measurement.usage import peak_memory_bytes, stolen_ticks, waited_ns


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


def test_waiting_is_the_second_field_of_every_thread(tmp_path: Path) -> None:
    for task, text in (("1", "500 70 3"), ("2", "900 8 1")):
        (tmp_path / task).mkdir()
        (tmp_path / task / "schedstat").write_text(text + "\n")
    assert waited_ns(tmp_path) == 78


def test_waiting_is_unknown_where_the_kernel_does_not_account_for_it(tmp_path: Path) -> None:
    assert waited_ns(tmp_path / "absent") is None
    (tmp_path / "1").mkdir()
    assert waited_ns(tmp_path) is None


def test_a_process_that_shares_one_processor_is_seen_to_wait() -> None:
    # Two busy loops on one CPU: each is ready all the time and runs half of it.
    code = """
import os, subprocess, sys, time
from deploycompress.measurement.usage import waited_ns
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
rival = subprocess.Popen([sys.executable, "-c", "while True: pass"])
try:
    before, stop = waited_ns(), time.perf_counter() + 0.5
    while time.perf_counter() < stop:
        pass
    print("unknown" if before is None else waited_ns() - before)
finally:
    rival.kill()
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    if found == "unknown":
        pytest.skip("this kernel does not account for waiting")
    assert int(found) > 0.05 * 0.5e9  # half in theory; a tenth of it is enough
