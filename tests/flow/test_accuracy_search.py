"""Bisection and trimming against brute force, and what lies on the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from deploycompress.flow.accuracy_search import Trial, fewest, pareto, trimmed


@given(st.integers(0, 40), st.integers(1, 50))
def test_bisection_finds_the_first_that_holds(most: int, first: int) -> None:
    asked: list[int] = []

    def holds(k: int) -> bool:
        asked.append(k)
        return k >= first

    assert fewest(most, holds) == (first if first <= most else None)
    assert all(1 <= k <= most for k in asked)
    assert len(asked) == len(set(asked))  # every question is a whole evaluation
    assert len(asked) <= 2 * max(most, 1).bit_length() + 1


@given(st.sets(st.integers(0, 9), min_size=1))
def test_trimming_leaves_what_the_limit_needs(needed: set[int]) -> None:
    names = [str(i) for i in range(10)]

    def holds(chosen: Sequence[str]) -> bool:
        return {str(i) for i in needed} <= set(chosen)

    assert set(trimmed(names, holds)) == {str(i) for i in needed}


def test_the_front_holds_what_nothing_beats() -> None:
    trials = [trial(10, 0.5), trial(20, 0.2), trial(15, 0.6), trial(30, 0.2), trial(40, -0.1)]
    front = [(10, 0.5), (20, 0.2), (40, -0.1)]
    assert [(each.size_bytes, each.shortfall) for each in pareto(trials, trials[-1])] == front
    # The trial that was chosen is shown even where another one beats it: that one has more float layers.
    assert (30, 0.2) in [(each.size_bytes, each.shortfall) for each in pareto(trials, trials[3])]


def trial(size_bytes: int, shortfall: float) -> Trial:
    return Trial({}, size_bytes, None, None, None, shortfall, "")
