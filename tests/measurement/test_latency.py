from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from deploycompress.errors import ModelRejectedError
from deploycompress.measurement import latency
from deploycompress.measurement.contention import Load
from deploycompress.measurement.latency import Candidate, Sampler, measure
from deploycompress.measurement.process import Block, Finished, Opened
from deploycompress.records.measured import Placement
from deploycompress.runtime.session import CPU, SessionConfig

Make = Callable[..., Path]
ONE_THREAD = SessionConfig(threads=1)


class Clock:
    """A sampler of known times: `time_ms(n)` is the time of run number n since the process began."""

    def __init__(self, time_ms: Callable[[int], float], log: list[str], name: str, waited: float = 0.0) -> None:
        self._time_ms, self._log, self._name, self._run, self._waited = time_ms, log, name, 0, waited

    def open(self) -> Opened:
        self._log.append(f"open {self._name}")
        return Opened(load_ms=40.0, first_run_ms=self._next(), empty_bytes=50_000_000)

    def warm_up(self, feed: int, budget_ms: float) -> int:
        self._log.append(f"warm {self._name} {feed}")
        return int(self._next() * 1e6)

    def block(self, feed: int, runs: int) -> Block:
        self._log.append(f"{self._name}{feed}")
        return Block(tuple(self._next() for _ in range(runs)), Load(runs * 5.0, runs * 4.0, runs * self._waited))

    def finish(self) -> Finished:
        return Finished(60_000_000, Placement((CPU,), {CPU: 3}, 1))

    def _next(self) -> float:
        self._run += 1
        return self._time_ms(self._run - 1)


def sampled(models: dict[str, Callable[[int], float]], *, feeds: int = 1, **options: object) -> tuple[list, list[str]]:
    """`measure` over stub samplers, and the log of what it asked them."""
    log: list[str] = []

    @contextmanager
    def start(candidate: Candidate) -> Iterator[Sampler]:
        name = candidate.path.name
        yield Clock(models[name], log, name)

    candidates = [Candidate(Path(name), ONE_THREAD, ({"x": np.zeros(1)},) * feeds) for name in models]
    return list(measure(candidates, start=start, seconds=0, **options)), log  # type: ignore[arg-type]


def jitter(base_ms: float, seed: int) -> Callable[[int], float]:
    rng = np.random.default_rng(seed)  # goes on from launch to launch
    return lambda _: base_ms * (1 + rng.normal(scale=0.02))


def test_slow_first_run_is_reported_apart() -> None:
    (found,), _ = sampled({"a": lambda run: 500.0 if run == 0 else 5.0}, rounds=40)
    assert found.latency.first_run_ms == 500.0
    assert found.latency.load_ms == 40.0
    assert found.latency.median_ms == pytest.approx(5.0)
    assert found.latency.max_ms == pytest.approx(5.0)


def test_drifting_times_are_flagged_unstable() -> None:
    (found,), _ = sampled({"a": lambda run: 5 * 1.01**run}, rounds=100, launches=5)
    assert not found.latency.stable
    assert found.latency.drift is not None
    assert found.latency.drift > 0.05
    assert "UNSTABLE" in found.notes[0]


def test_steady_times_are_stable() -> None:
    (found,), _ = sampled({"a": jitter(5, 0)}, rounds=100)
    assert found.latency.stable
    assert not any("UNSTABLE" in note for note in found.notes)


def test_summary_holds_the_quantiles_of_the_runs() -> None:
    # Fifty rounds of two blocks of one run: a tenth of all runs take 20 ms instead of 10.
    (found,), _ = sampled({"a": lambda run: 20.0 if run % 10 == 9 else 10.0}, rounds=50, launches=1)
    times = found.latency
    assert (times.rounds, times.runs, times.launches) == (50, 100, 1)
    assert (times.min_ms, times.median_ms, times.p95_ms, times.max_ms) == (10.0, 10.0, 20.0, 20.0)
    assert times.p95_interval.low <= times.p95_ms <= times.p95_interval.high
    assert found.peak_memory_bytes == 60_000_000
    assert found.model_memory_bytes == 10_000_000


@pytest.mark.parametrize("phase", [0, 100])
def test_values_and_intervals_see_the_same_runs_where_a_round_has_more_than_are_needed(phase: int) -> None:
    # A hundred runs of 10 microseconds, then a hundred of 12, and so on: half a round each.
    (found,), _ = sampled({"a": lambda run: 0.012 if (run + phase) // 100 % 2 else 0.010}, rounds=200, launches=2)
    times = found.latency
    assert times.runs > latency._RUNS_FOR_INTERVALS
    assert times.p95_ms == 0.012
    assert times.p95_interval.low <= times.p95_ms <= times.p95_interval.high


def test_models_of_equal_speed_have_no_winner_and_a_slower_one_loses() -> None:
    (a, b, c), _ = sampled({"a": jitter(5, 0), "b": jitter(5, 1), "c": jitter(6, 2)}, rounds=50)
    assert a.comparison is None
    assert b.comparison is not None
    assert b.comparison.verdict == "NO DIFFERENCE"
    assert c.comparison is not None
    assert c.comparison.verdict == "SLOWER"
    assert c.comparison.interval.low < 5 / 6 < c.comparison.interval.high


def test_rounds_are_interleaved_forwards_and_backwards_from_a_moving_start() -> None:
    _, log = sampled({"a": lambda _: 5.0, "b": lambda _: 5.0, "c": lambda _: 5.0}, rounds=3, launches=1)
    assert log == [
        *("open a", "open b", "open c", "warm a 0", "warm b 0", "warm c 0"),
        *("a0", "b0", "c0", "c0", "b0", "a0"),
        *("b0", "c0", "a0", "a0", "c0", "b0"),
        *("c0", "a0", "b0", "b0", "a0", "c0"),
    ]


def test_every_feed_is_warmed_up_and_all_models_run_the_same_one() -> None:
    _, log = sampled({"a": lambda _: 5.0, "b": lambda _: 5.0}, feeds=2, rounds=2, launches=1)
    assert log[2:] == [
        *("warm a 0", "warm a 1", "warm b 0", "warm b 1"),
        *("a0", "b0", "b0", "a0"),
        *("b1", "a1", "a1", "b1"),
    ]


def test_both_parts_of_the_stop_rule_hold_and_launches_weigh_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    now_s = [0.0]

    def tick() -> float:  # the clock moves from one look to the next; the second launch meets a slower machine
        now_s[0] += 0.001 if log.count("open a") <= 1 else 0.010
        return now_s[0]

    monkeypatch.setattr(latency, "monotonic", tick)

    @contextmanager
    def start(candidate: Candidate) -> Iterator[Sampler]:
        yield Clock(lambda _: 5.0, log, candidate.path.name)

    candidate = Candidate(Path("a"), ONE_THREAD, ({"x": np.zeros(1)},))
    # Two rounds a launch would do; 20 ms a launch at 1 ms a look are twenty. The second launch does as many.
    (found,) = measure([candidate], rounds=3, seconds=0.04, launches=2, start=start)
    second = log.index("open a", 1)
    assert 18 <= log[:second].count("a0") / 2 <= 21  # a round is two blocks
    assert log[:second].count("a0") == log[second:].count("a0")
    (found,) = measure([candidate], rounds=7, seconds=0, launches=2, start=start)
    assert found.latency.rounds == 8  # at least seven, in equal parts


def test_noise_that_hides_five_percent_is_measured_on_until_it_does_not() -> None:
    # Every process draws a level of its own: 6 % of deviation hide 5 % behind five processes, 1 % does not.
    def level(deviation: float, seed: int) -> Callable[[int], float]:
        rng, state = np.random.default_rng(seed), [5.0]

        def time_ms(run: int) -> float:
            if run == 0:
                state[0] = 5.0 * float(np.exp(deviation * rng.normal()))
            return state[0]

        return time_ms

    (_, quiet), log = sampled({"a": level(0.01, 1), "b": level(0.01, 2)}, rounds=10, launches=5)
    assert log.count("open a") == quiet.latency.launches == 5
    (_, noisy), log = sampled({"a": level(0.06, 1), "b": level(0.06, 2)}, rounds=10, launches=5)
    assert log.count("open a") == noisy.latency.launches > 5
    (_, hopeless), log = sampled({"a": level(0.5, 1), "b": level(0.5, 2)}, rounds=10, launches=5)
    assert log.count("open a") == log.count("open b") == 15  # three times as many and no more
    assert hopeless.comparison is not None
    assert hopeless.comparison.verdict == "TOO NOISY"
    assert hopeless.notes[0].startswith("TOO NOISY to tell: after 15 processes the speed-up is anywhere from 0.")


def test_a_single_model_is_measured_on_until_its_median_is_known() -> None:
    rng = np.random.default_rng(0)
    levels = iter(5.0 * np.exp(0.3 * rng.normal(size=15)))
    state = [0.0]

    def time_ms(run: int) -> float:
        state[0] = float(next(levels)) if run == 0 else state[0]
        return state[0]

    (found,), _ = sampled({"a": time_ms}, rounds=10, launches=5)
    assert found.latency.launches == 15


def test_processor_time_and_waiting_are_those_of_the_process() -> None:
    @contextmanager
    def start(candidate: Candidate) -> Iterator[Sampler]:
        yield Clock(lambda run: 5.0, [], "a", waited=0.5)

    candidate = Candidate(Path("a"), ONE_THREAD, ({"x": np.zeros(1)},))
    (found,) = measure([candidate], rounds=10, seconds=0, start=start)
    assert found.latency.cpu_ms == 4.0
    assert found.latency.waited_share == pytest.approx(0.1)
    assert "other work on this machine held the processor for 10 % of the time" in found.notes


def test_candidates_with_unlike_feeds_are_an_error() -> None:
    one = Candidate(Path("a"), ONE_THREAD, ({"x": np.zeros(1)},))
    two = Candidate(Path("b"), ONE_THREAD, ({"x": np.zeros(1)}, {"x": np.zeros(1)}))
    with pytest.raises(ValueError, match=r"same number of feeds, at least one; got \[1, 2\]"):
        measure([one, two])


def test_real_workers_agree_that_more_work_is_slower(mlp: Make, feed: dict[str, np.ndarray]) -> None:
    paths = (mlp(8, "eight"), mlp(24, "more"))
    first, more = measure(
        [Candidate(path, ONE_THREAD, (feed,), batch_size=16) for path in paths], rounds=20, seconds=0.2, launches=4
    )
    assert more.comparison is not None
    # How often two identical files are told apart is a rate, and bench/verdicts.py measures it.
    assert more.comparison.verdict == "SLOWER"
    assert first.placement.nodes == {CPU: 8}
    assert more.placement.nodes == {CPU: 24}
    assert first.latency.batch_size == 16
    assert first.latency.median_interval.low <= first.latency.median_ms <= first.latency.median_interval.high


def test_unusable_model_ends_the_measurement_with_its_name(
    mlp: Make, feed: dict[str, np.ndarray], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    candidates = [Candidate(path, ONE_THREAD, (feed,)) for path in (mlp(2), broken)]
    with pytest.raises(ModelRejectedError, match=r"broken.onnx"):
        measure(candidates, seconds=0.1)


def test_blocks_in_which_other_work_held_the_processor_do_not_decide() -> None:
    # Two of three blocks of b are twice as long because they waited; it is 10 % slower otherwise.
    class Interrupted(Clock):
        blocks = 0

        def block(self, feed: int, runs: int) -> Block:
            self.blocks += 1
            held = self._name == "b" and self.blocks % 3 != 0
            times = tuple(self._next() * (2 if held else 1) for _ in range(runs))
            return Block(times, Load(sum(times), sum(times) / 2, sum(times) / 2 if held else 0.0))

    @contextmanager
    def start(candidate: Candidate) -> Iterator[Sampler]:
        yield Interrupted({"a": jitter(5.0, 1), "b": jitter(5.5, 2)}[name := candidate.path.name], [], name)

    candidates = [Candidate(Path(name), ONE_THREAD, ({"x": np.zeros(1)},)) for name in "ab"]
    _, found = measure(candidates, rounds=60, seconds=0, launches=5, start=start)
    assert found.comparison is not None
    # Sixty rounds with 2 % of noise on either side leave 0.5 %; counting the blocks that waited would give 0.45.
    assert found.comparison.speedup == pytest.approx(1 / 1.1, rel=0.02)
    assert found.comparison.verdict == "SLOWER"
    assert found.latency.median_ms > 8  # what happened is reported as it happened
    assert any(note.startswith("other work on this machine held the processor for") for note in found.notes)


def test_where_every_block_waited_all_of_them_count() -> None:
    log: list[str] = []

    @contextmanager
    def start(candidate: Candidate) -> Iterator[Sampler]:
        yield Clock({"a": jitter(5.0, 1), "b": jitter(5.5, 2)}[candidate.path.name], log, "x", waited=2.0)

    candidates = [Candidate(Path(name), ONE_THREAD, ({"x": np.zeros(1)},)) for name in "ab"]
    _, found = measure(candidates, rounds=60, seconds=0, launches=5, start=start)
    assert found.comparison is not None
    assert found.comparison.verdict == "SLOWER"
    assert found.comparison.rounds == 60
