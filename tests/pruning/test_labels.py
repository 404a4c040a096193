"""Classes of labels against a search of the graph that the ties make."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.pruning.labels import Labels, classes

_TIES = st.integers(1, 30).flatmap(
    lambda n: st.tuples(st.just(n), st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=40))
)


@given(_TIES)
def test_tied_labels_have_the_lowest_of_all_they_reach(drawn: tuple[int, list[tuple[int, int]]]) -> None:
    count, ties = drawn
    neighbours: dict[int, set[int]] = {n: set() for n in range(count)}
    for a, b in ties:
        neighbours[a].add(b)
        neighbours[b].add(a)
    pairs = np.asarray(ties, np.int64).reshape(-1, 2)
    roots = classes(count, pairs[:, 0], pairs[:, 1])
    for start in range(count):
        reached, todo = {start}, [start]
        while todo:
            for other in neighbours[todo.pop()] - reached:
                reached.add(other)
                todo.append(other)
        assert roots[start] == min(reached)


def test_a_chain_of_a_million_labels_is_one_class() -> None:
    count = 1_000_000
    order = np.random.default_rng(0).permutation(count)
    assert not classes(count, order[:-1], order[1:]).any()


def test_ties_of_arrays_broadcast() -> None:
    labels = Labels()
    grid, row = labels.fresh(2, 3), labels.fresh(2)
    labels.tie(grid, row[:, None])
    assert labels.roots().tolist() == [0, 0, 0, 3, 3, 3, 0, 3]
