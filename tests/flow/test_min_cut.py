"""The cheapest cut against every other one."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.flow.min_cut import SINK, SOURCE, Network

COUNT = 5
COSTS = st.integers(0, 9)
PAIRS = [(a, b) for a in range(COUNT) for b in range(COUNT) if a != b]


@given(
    st.lists(COSTS, min_size=COUNT, max_size=COUNT),
    st.lists(COSTS, min_size=COUNT, max_size=COUNT),
    st.lists(COSTS, min_size=len(PAIRS), max_size=len(PAIRS)),
)
def test_no_other_choice_is_cheaper(apart: list[int], here: list[int], edges: list[int]) -> None:
    network = Network()
    for vertex in range(COUNT):
        network.edge(SOURCE, vertex, apart[vertex])
        network.edge(vertex, SINK, here[vertex])
    for (a, b), cost in zip(PAIRS, edges, strict=True):
        network.edge(a, b, cost)

    def price(chosen: frozenset[object]) -> int:
        single = sum(here[v] if v in chosen else apart[v] for v in range(COUNT))
        return single + sum(cost for (a, b), cost in zip(PAIRS, edges, strict=True) if a in chosen and b not in chosen)

    every = [frozenset(v for v in range(COUNT) if bits[v]) for bits in product((0, 1), repeat=COUNT)]
    best = min(price(chosen) for chosen in every)
    found = frozenset(v for v in network.source_side() if v != SOURCE)
    assert price(found) == best
    # Of several cheapest choices, the one that keeps most on the side of the source.
    assert all(chosen <= found for chosen in every if price(chosen) == best)


def test_an_infinite_edge_is_never_cut() -> None:
    network = Network()
    network.edge(SOURCE, "a", float("inf"))
    network.edge("a", SINK, 5.0)
    assert network.source_side() == {SOURCE, "a"}
    network.edge("a", SINK, float("inf"))
    with pytest.raises(ValueError, match="an infinite path joins source and sink"):
        network.source_side()


def test_a_path_that_blocks_another_is_led_around_it() -> None:
    # The first shortest path takes c, which is all that b can reach; its flow has to move from c to d.
    network = Network()
    for start, end in ((SOURCE, "a"), (SOURCE, "b"), ("a", "c"), ("a", "d"), ("b", "c"), ("c", SINK), ("d", SINK)):
        network.edge(start, end, 1.0)
    assert network.source_side() == {SOURCE, "a", "b", "c", "d"}
