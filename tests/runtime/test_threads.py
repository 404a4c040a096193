"""Threads: the least of the affinity mask and the container's quota."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deploycompress.runtime.threads import available_threads, cgroup_cpus, own_cpus


def v2(root: Path, text: str) -> Path:
    (root / "cpu.max").write_text(text)
    return root


def test_a_quota_of_one_and_a_half_grants_two_threads_where_two_cpus_are_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    assert available_threads(v2(tmp_path, "150000 100000\n")) == 2


def test_the_affinity_mask_counts_where_it_is_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3}, raising=False)
    assert available_threads(v2(tmp_path, "800000 100000\n")) == 1


@pytest.mark.parametrize("text", ["max 100000\n", "", "garbage\n", "100000 0\n"])
def test_no_quota_or_an_unreadable_one_is_no_limit(tmp_path: Path, text: str) -> None:
    assert cgroup_cpus(v2(tmp_path, text)) is None


def test_cgroup_v1_is_read(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("50000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert cgroup_cpus(tmp_path) == 0.5


def test_an_unlimited_cgroup_v1_is_no_limit(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert cgroup_cpus(tmp_path) is None


def test_every_process_has_processors_of_its_own_as_long_as_there_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {2, 3, 5, 7}, raising=False)
    assert [own_cpus(number, 2) for number in range(3)] == [(2, 3), (5, 7), (2, 3)]
    assert own_cpus(1, 3) == (2, 3, 7)
