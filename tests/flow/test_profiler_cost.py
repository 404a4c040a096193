from __future__ import annotations

from pathlib import Path

import pytest

from deploycompress.flow.profiler_cost import ProfilerCost, quiet_mean
from deploycompress.runtime.session import NodeTime, Profile, SessionConfig


def test_only_the_smallest_quarter_of_the_times_counts() -> None:
    assert quiet_mean([9.0, 1.0, 50.0, 2.0]) == 1.0
    assert quiet_mean([9.0, 1.0, 50.0, 2.0, 7.0]) == 1.5
    assert quiet_mean([4.0]) == 4.0


def test_the_cost_is_what_kernels_take_beyond_a_run_without_the_profiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cost = ProfilerCost(SessionConfig(threads=1), tmp_path / "cost")
    cost.round()
    assert len(list((tmp_path / "cost").iterdir())) == 1  # its profile
    monkeypatch.setattr(cost, "_times_us", [100.0])  # 2 us for each of fifty nodes
    chain = Profile(tuple(NodeTime(str(i), "Add", "P", 5.0) for i in range(50)))
    monkeypatch.setattr(cost._profiled, "profile", lambda: chain)
    assert cost.per_node_us() == pytest.approx(3.0)
