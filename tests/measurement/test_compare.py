from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deploycompress.measurement.compare import compare_runners, judge, quick_compare, student_t
from deploycompress.runtime.session import Session, SessionConfig

ONE_THREAD = SessionConfig(threads=1)


def test_same_file_has_no_winner(mlp: Callable[..., Path], feed: dict[str, np.ndarray]) -> None:
    # A/A. Measured: about one wrong verdict in a hundred on a busy machine; two in eight mean the method is broken.
    path = mlp(6)
    verdicts = [
        quick_compare(Session(path, ONE_THREAD), Session(path, ONE_THREAD), feed, budget_s=0.4).verdict
        for _ in range(8)
    ]
    assert sum(verdict in ("FASTER", "SLOWER") for verdict in verdicts) <= 1


def test_more_work_is_slower_and_less_is_faster(mlp: Callable[..., Path], feed: dict[str, np.ndarray]) -> None:
    small, large = Session(mlp(6, "six"), ONE_THREAD), Session(mlp(16, "sixteen"), ONE_THREAD)
    slower = quick_compare(small, large, feed, budget_s=0.4)
    faster = quick_compare(large, small, feed, budget_s=0.4)
    assert slower.verdict == "SLOWER"
    assert slower.interval.high < 1
    assert faster.verdict == "FASTER"
    assert faster.interval.low > 1


def test_verdict_on_noise_alone_is_rare() -> None:
    # Rounds of equal models with 5 % of noise on a machine that drifts under both. At the 95 % level at most 5 % of 400
    # may find a winner, even without a minimum effect; the sd of that count is 4.4.
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(400):
        shared = np.exp(np.cumsum(rng.normal(scale=0.02, size=40)))  # the machine drifts under both alike
        times = shared * np.exp(rng.normal(scale=0.05, size=(2, 40)))
        wrong += judge(times[0], times[1], min_effect=0.0).verdict in ("FASTER", "SLOWER")
    assert wrong <= 0.05 * 400 + 3 * 4.4


def test_correlated_rounds_are_not_taken_for_independent_ones() -> None:
    # Disturbances last five rounds. Each round as an observation of its own would find a winner far too often.
    rng = np.random.default_rng(0)
    alone = parts = 0
    for _ in range(400):
        noise = np.convolve(rng.normal(scale=0.05, size=84), np.ones(5) / 5, mode="valid")
        alone += judge(np.ones(80), np.exp(noise), parts=80).interval.excludes(1)
        parts += judge(np.ones(80), np.exp(noise)).interval.excludes(1)
    assert alone > 100
    # Ten rounds a part leave some correlation between neighbouring parts: 10 % at most, sd 6.
    assert parts <= 0.10 * 400 + 3 * 6


def test_processes_that_differ_for_good_are_no_evidence() -> None:
    # Each launch draws a memory layout worth +-3 %, constant inside it; rounds inside a launch are almost free of
    # noise. Treating 100 rounds as independent would nearly always find a winner; five launches must not, beyond 5 %
    # of 400 (sd 4.4).
    rng = np.random.default_rng(0)
    pooled = launched = 0
    for _ in range(400):
        layout = np.repeat(rng.normal(scale=0.03, size=5), 20)
        candidate = np.exp(layout + rng.normal(scale=0.002, size=100))
        pooled += judge(np.ones(100), candidate, parts=100).interval.excludes(1)
        launched += judge(np.ones(100), candidate, parts=5).interval.excludes(1)
    assert pooled > 200
    assert launched <= 0.05 * 400 + 3 * 4.4


def test_real_difference_over_launches_is_found() -> None:
    rng = np.random.default_rng(0)
    noise = np.repeat(rng.normal(scale=0.01, size=5), 20) + rng.normal(scale=0.05, size=100)
    found = judge(2 * np.exp(noise), np.ones(100), parts=5)
    assert found.verdict == "FASTER"
    assert found.interval.low < 2 < found.interval.high
    assert found.rounds == 100


def test_difference_below_the_minimum_effect_is_none() -> None:
    candidate = np.full(48, 1 / 1.02) + np.random.default_rng(0).normal(scale=1e-4, size=48)
    found = judge(np.ones(48), candidate)
    assert found.interval.low > 1.01
    assert found.verdict == "NO DIFFERENCE"
    assert judge(np.ones(48), candidate, min_effect=0.015).verdict == "FASTER"


def test_interval_that_touches_the_layout_band_is_no_evidence() -> None:
    # Typically 4 % faster, but the eight parts spread so that the interval begins between 1 and 1.01.
    parts = np.repeat(np.log(1.04) + 0.04 * np.array([-1, 1, -1, 1, -1, 1, -1, 1]), 4)
    found = judge(np.exp(parts), np.ones(32))
    assert 1 < found.interval.low < 1.01
    assert found.verdict == "TOO NOISY"


@pytest.mark.parametrize("parts", [1, 5])
def test_too_few_rounds_or_parts_are_an_error(parts: int) -> None:
    with pytest.raises(ValueError, match=f"4 rounds cannot be judged in {parts} parts"):
        judge(np.ones(4), np.ones(4), parts=parts)


def test_candidate_twice_as_slow_has_speedup_one_half() -> None:
    found = judge(np.ones(16), np.full(16, 2.0))
    assert found.speedup == pytest.approx(0.5)
    assert found.verdict == "SLOWER"


@pytest.mark.parametrize(
    # Two-sided 95 % and 99 % points of the t distribution, from the NIST/SEMATECH handbook, section 1.3.6.7.2.
    ("p", "freedom", "expected"),
    [(0.975, 1, 12.706), (0.975, 4, 2.776), (0.975, 9, 2.262), (0.975, 100, 1.984), (0.995, 3, 5.841)],
)
def test_student_t_matches_the_tables(p: float, freedom: int, expected: float) -> None:
    assert student_t(p, freedom) == pytest.approx(expected, abs=6e-4)


@pytest.mark.parametrize(("spread", "verdict"), [(0.01, "NO DIFFERENCE"), (0.1, "TOO NOISY")])
def test_an_interval_that_hides_four_percent_says_so(spread: float, verdict: str) -> None:
    # Eight parts: reach = t(7) spread / sqrt(8) = 0.84 spread; 0.8 % lies within 4 %, 8 % does not.
    parts = np.array([1, -1, 1, -1, 1, -1, 1, -1]) * spread * np.sqrt(7 / 8)
    assert judge(np.exp(np.repeat(parts, 4)), np.ones(32)).verdict == verdict


def test_rounds_are_timed_by_the_clock_that_is_given() -> None:
    """A clock that only the two runs move: 3 ticks for the baseline, 2 for the candidate."""
    now = [0]

    def passes(ticks: int) -> None:
        now[0] += ticks

    found = compare_runners(lambda: passes(3), lambda: passes(2), budget_s=0.01, clock=lambda: now[0])
    assert found.speedup == pytest.approx(1.5, rel=1e-9)
