from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from deploycompress.measurement.contention import Load
from deploycompress.measurement.latency import Candidate
from deploycompress.measurement.process import Opened, Stream
from deploycompress.measurement.throughput import Runner, throughput
from deploycompress.runtime.session import SessionConfig

ONE_THREAD = SessionConfig(threads=1)


class Metronome:
    """A runner that does `per_s` runs a second."""

    def __init__(self, per_s: float, log: list[str], name: str) -> None:
        self._per_s, self._log, self._name = per_s, log, name

    def open(self) -> Opened:
        return Opened(1.0, 1.0, None)

    def warm_up(self, feed: int, budget_ms: float) -> int:
        return 1

    def stream(self, feed: int, budget_ms: float) -> Stream:
        self._log.append(self._name)
        return Stream(round(self._per_s * budget_ms / 1e3), Load(budget_ms, budget_ms, 0.0))


def stubbed(rates: dict[str, float], instances: int, batch: int = 1) -> tuple[list, list[str]]:
    log: list[str] = []

    @contextmanager
    def start(candidate: Candidate, number: int) -> Iterator[Runner]:
        yield Metronome(rates[candidate.path.name], log, f"{candidate.path.name}{number}")

    candidates = [Candidate(Path(name), ONE_THREAD, ({"x": np.zeros(1)},), batch) for name in rates]
    return list(throughput(candidates, instances=instances, seconds=2.0, launches=3, start=start)), log


def test_rates_of_all_processes_add_up_and_count_samples() -> None:
    (found,), _ = stubbed({"a": 1000.0}, instances=3, batch=8)
    assert found.samples_per_s == pytest.approx(
        3 * 8 * 1000.0, rel=0.01
    )  # whole runs in a window of a third of a second
    assert found.instances == 3
    assert found.windows == 6
    assert found.interval.low <= found.samples_per_s <= found.interval.high
    assert found.comparison is None


def test_model_with_more_runs_a_second_is_faster() -> None:
    (_, other), log = stubbed({"a": 1000.0, "b": 1300.0}, instances=1)
    assert other.comparison is not None
    assert other.comparison.speedup == pytest.approx(1.3, rel=0.01)
    assert other.comparison.verdict == "FASTER"
    assert log[:4] == ["a0", "b0", "b0", "a0"]


def test_real_processes_run_at_once(mlp: Callable[..., Path], feed: dict[str, np.ndarray]) -> None:
    candidate = Candidate(mlp(4), ONE_THREAD, (feed,), batch_size=16)
    (found,) = throughput([candidate], instances=2, seconds=0.2, launches=2, pin=True)
    assert found.samples_per_s > 0
    assert found.interval.low < found.interval.high
