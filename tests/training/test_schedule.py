"""The rate rises, peaks once, falls as named, and is never zero while updates remain."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.training.schedule import factor

KINDS = st.sampled_from(["cosine", "linear", "constant"])


@given(updates=st.integers(1, 300), warmup=st.floats(0, 0.9), schedule=KINDS)
def test_rate_rises_then_falls_within_bounds(updates: int, warmup: float, schedule: str) -> None:
    values = [factor(u, updates, warmup=warmup, schedule=schedule) for u in range(updates)]  # type: ignore[arg-type]
    assert all(0 < value <= 1 for value in values)
    rising = math.ceil(warmup * updates)
    assert all(a < b for a, b in pairwise(values[: rising + 1]))
    assert all(a >= b for a, b in pairwise(values[rising:]))
    if rising < updates:
        assert values[rising] == 1.0


@pytest.mark.parametrize(("schedule", "expected"), [("cosine", 0.5), ("linear", 0.5), ("constant", 1.0)])
def test_rate_halfway_after_no_warmup(schedule: str, expected: float) -> None:
    assert factor(50, 100, warmup=0.0, schedule=schedule) == pytest.approx(expected)  # type: ignore[arg-type]


def test_quarter_of_cosine() -> None:
    assert factor(25, 100, warmup=0.0, schedule="cosine") == pytest.approx((1 + math.cos(math.pi / 4)) / 2)


def test_warmup_is_linear() -> None:
    values = [factor(u, 100, warmup=0.04, schedule="constant") for u in range(5)]
    assert values == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
