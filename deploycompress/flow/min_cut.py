"""directed graph with capacities -> the cheapest set of edges that separates a source from a sink.

Choosing one of two forms for every layer, where neighbours of different form pay for a conversion, is a minimum cut:

    cost(S) = sum_{i in S} int8_i + sum_{i not in S} float_i + sum_{i in S, j not in S} conversion_ij

Source: Ford and Fulkerson, 1956 (max flow = min cut), with shortest augmenting paths (Edmonds and Karp, 1972); Greig,
Porteous and Seheult, "Exact maximum a posteriori estimation for binary images", 1989 (two labels by one cut).
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Collection, Hashable
from dataclasses import dataclass, field

SOURCE, SINK = ("source",), ("sink",)
_NEGLIGIBLE = 1e-9


@dataclass
class Network:
    """Capacities of directed edges; edges that are added twice add up.

    Attributes:
        capacities: By start and end.
    """

    capacities: dict[Hashable, dict[Hashable, float]] = field(default_factory=lambda: defaultdict(dict))

    def edge(self, start: Hashable, end: Hashable, capacity: float) -> None:
        """Adds an edge; an infinite one is never cut."""
        self.capacities[start][end] = self.capacities[start].get(end, 0.0) + capacity
        self.capacities[end].setdefault(start, 0.0)

    def cost(self, side: Collection[Hashable]) -> float:
        """What the edges that leave these vertices add up to."""
        return sum(room for start in side for end, room in self.capacities.get(start, {}).items() if end not in side)

    def source_side(self) -> frozenset[Hashable]:
        """The vertices on the side of the source, as many as there are in a cheapest cut.

        Raises:
            ValueError: Source and sink cannot be separated.
        """
        residual = {start: dict(ends) for start, ends in self.capacities.items()}
        while (path := _path(residual)) is not None:
            flow = min(residual[a][b] for a, b in path)
            if math.isinf(flow):
                raise ValueError("an infinite path joins source and sink")
            for a, b in path:
                residual[a][b] -= flow
                residual[b][a] = residual[b].get(a, 0.0) + flow
        return frozenset(self.capacities) - _reaching(residual, SINK) | {SOURCE}


def _path(residual: dict[Hashable, dict[Hashable, float]]) -> list[tuple[Hashable, Hashable]] | None:
    """A shortest path from source to sink with room on every edge."""
    came: dict[Hashable, Hashable] = {SOURCE: SOURCE}
    queue = deque([SOURCE])
    while queue:
        vertex = queue.popleft()
        for end, room in residual.get(vertex, {}).items():
            if room > _NEGLIGIBLE and end not in came:
                came[end] = vertex
                if end == SINK:
                    path: list[tuple[Hashable, Hashable]] = []
                    while end != SOURCE:
                        path.append((came[end], end))
                        end = came[end]
                    return path
                queue.append(end)  # type: ignore[arg-type]
    return None


def _reaching(residual: dict[Hashable, dict[Hashable, float]], goal: Hashable) -> set[Hashable]:
    """Vertices from which a path with room leads to `goal`, which is one of them."""
    into: dict[Hashable, list[Hashable]] = defaultdict(list)
    for start, ends in residual.items():
        for end, room in ends.items():
            if room > _NEGLIGIBLE:
                into[end].append(start)
    found, queue = {goal}, [goal]
    while queue:
        for start in into[queue.pop()]:
            if start not in found:
                found.add(start)
                queue.append(start)
    return found
