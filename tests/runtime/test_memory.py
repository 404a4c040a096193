"""Memory at hand: the least of what the machine has and what the container's limit leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploycompress.runtime.memory import available_memory_bytes


def files(root: Path, **texts: str) -> Path:
    """A folder with these files; `__` in a name stands for a dot."""
    root.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (root / name.replace("__", ".")).write_text(text)
    return root


def meminfo(root: Path, kilobytes: int) -> Path:
    return files(root, meminfo=f"MemTotal: 9000 kB\nMemFree: 1 kB\nMemAvailable:   {kilobytes} kB\n") / "meminfo"


def test_the_machine_counts_where_no_container_limits(tmp_path: Path) -> None:
    root = files(tmp_path / "cgroup", memory__max="max\n", memory__current="5000\n")
    assert available_memory_bytes(meminfo(tmp_path, 800), root) == 800 * 1024


def test_a_container_leaves_its_limit_less_what_is_taken_and_cannot_be_dropped(tmp_path: Path) -> None:
    root = files(
        tmp_path / "cgroup",
        memory__max="100000\n",
        memory__current="60000\n",
        memory__stat="anon 7\ninactive_file 20000\n",
    )
    assert available_memory_bytes(meminfo(tmp_path, 800), root) == 100_000 - 60_000 + 20_000
    assert available_memory_bytes(meminfo(tmp_path, 1), root) == 1024


def test_cgroup_v1_is_read(tmp_path: Path) -> None:
    root = tmp_path / "cgroup"
    files(root / "memory", memory__limit_in_bytes="1000\n", memory__usage_in_bytes="400\n")
    files(root / "memory", memory__stat="inactive_file 1\ntotal_inactive_file 1\n")
    assert available_memory_bytes(meminfo(tmp_path, 800), root) == 601


def test_a_limit_below_what_is_taken_leaves_nothing(tmp_path: Path) -> None:
    root = files(tmp_path / "cgroup", memory__max="100\n", memory__current="300\n")
    assert available_memory_bytes(meminfo(tmp_path, 800), root) == 0


@pytest.mark.parametrize("text", ["", "garbage"])
def test_a_system_that_does_not_say_gives_none(tmp_path: Path, text: str) -> None:
    path = files(tmp_path, meminfo=text) / "meminfo"
    assert available_memory_bytes(path, tmp_path / "absent") is None
    assert available_memory_bytes(tmp_path / "absent", tmp_path / "absent") is None
