"""How much goes: the search for a speed on lines and curves, a limit on real files, and what cannot be reached."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deploycompress import prune, targets
from deploycompress.errors import UnsupportedError, UsageError
from deploycompress.flow.amount import _next
from deploycompress.flow.goal import Goal
from deploycompress.flow.width_times import _lines
from tests import zoo
from tests.flow.test_prune import hidden, samples, written
from tests.pruning import nets

TARGET = targets.load("server-cpu-avx2")


@pytest.mark.parametrize("bend", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("overhead", [0.0, 0.3])
def test_the_search_for_a_time_ends_near_it_in_a_few_steps(bend: float, overhead: float) -> None:
    """Time falls from 1 to the overhead, faster at first or faster at last."""

    def time(amount: float) -> float:
        return float(overhead + (1 - overhead) * (1 - amount) ** bend)

    at, amount = {0.0: 1.0}, 1 / 3
    for _ in range(6):
        at[amount] = time(amount)
        amount = _next(at, 1 / 1.5, 0.95)
    assert min(abs(found - 1 / 1.5) for found in at.values()) < 0.02


def test_lines_are_those_the_times_lie_on_and_no_part_is_negative() -> None:
    left = np.asarray([[1.0, 1.0, 1.0], [0.5, 1.0, 0.6], [0.25, 1.0, 0.3]])
    times = np.stack([2 + 3 * left[:, 0], np.full(3, 7.0), left[:, 2] * 5 - 1], axis=1)
    fixed, rates = _lines(left, times)
    np.testing.assert_allclose(fixed, [2, 7, 0], atol=1e-12)
    np.testing.assert_allclose(rates[:2], [3, 0], atol=1e-12)
    assert 3 < rates[2] < 5


def test_a_limit_decides_how_much_goes(tmp_path: Path) -> None:
    source, data = written(tmp_path, hidden()), samples(tmp_path)
    results = [
        prune(source, tmp_path / "o.onnx", target=TARGET, calib=data, goal=Goal(min_agreement=least), measure=False)
        for least in (0.999, 0.9)
    ]
    gone = [sum(row.removed for row in result.groups) for result in results]
    assert 0 < gone[0] < gone[1]
    for result in results:
        assert result.goal is not None
        assert result.goal.met
        held = [trial.units for trial in result.trials if trial.met]
        assert max(held) == sum(row.removed for row in result.groups)


def test_a_limit_that_nothing_meets_leaves_the_least_and_says_so(tmp_path: Path) -> None:
    """A cosine of 1 to the last bit is nothing that a smaller net reaches."""
    model = zoo.model(
        "g (float[N,8] x) => (float[N,4] y) { h = Gemm(x, w, b) r = Relu(h) a = Gemm(r, u) y = Tanh(a) }",
        w=zoo.normal(8, 24),
        b=zoo.normal(24),
        u=zoo.normal(24, 4),
    )
    source, data, goal = written(tmp_path, model), samples(tmp_path), Goal(min_agreement=1.0)
    result = prune(
        source, tmp_path / "o.onnx", target=TARGET, calib=data, goal=goal, score="random", repair=False, measure=False
    )
    assert result.goal is not None
    assert not result.goal.met
    assert (tmp_path / "o.onnx").exists()
    assert sum(row.removed for row in result.groups) == min(trial.units for trial in result.trials)


def test_a_speed_out_of_reach_is_refused_with_what_was_reached(tmp_path: Path) -> None:
    source = written(tmp_path, nets.residual())
    with pytest.raises(UnsupportedError, match=r"1000x is out of reach: with all gone .* it ran at \d+\.\d\dx"):
        prune(source, tmp_path / "o.onnx", target=TARGET, speedup=1000, round_to=1)
    assert not (tmp_path / "o.onnx").exists()


@pytest.mark.parametrize("allocation", ["global", "lamp", "sensitivity", "latency"])
def test_every_allocation_saves_what_an_even_share_would(tmp_path: Path, allocation: str) -> None:
    source = written(tmp_path, nets.residual())
    even = prune(source, tmp_path / "a.onnx", target=TARGET, ratio=0.4, measure=False)
    timed = allocation == "latency"
    shared = prune(
        source,
        tmp_path / "b.onnx",
        target=TARGET,
        ratio=0.4,
        allocation=allocation,
        measure=timed,
        round_to=1,  # type: ignore[arg-type]
    )
    assert shared.allocation == allocation
    if not timed:
        assert shared.macs_after <= even.macs_after
        assert shared.macs_after > 0.5 * even.macs_after


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "how much is to go"),
        ({"ratio": 0.5, "speedup": 1.5}, "a ratio and a speed-up are two amounts"),
        ({"speedup": 0.9}, r"the speed-up must be more than 1, not 0\.9"),
        ({"speedup": 2.0, "measure": False}, "a speed-up is measured"),
    ],
)
def test_amounts_that_make_no_sense_are_one_line(tmp_path: Path, options: dict[str, object], said: str) -> None:
    source = written(tmp_path, nets.residual())
    with pytest.raises(UsageError, match=said):
        prune(source, tmp_path / "o.onnx", target=TARGET, **options)  # type: ignore[arg-type]
