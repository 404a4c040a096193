"""numbers of units that are gone -> the share of its work that every node still has, without cutting anything.

The work of a node is the number of elements it gives, times the inner length of a product. Each of these lengths falls
linearly with the units of each group that are gone, so

    share of a node = product over its axes of (1 - sum over groups of units gone x share of the axis a unit takes)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deploycompress.passes import graph as g
from deploycompress.pruning.curves import Floats
from deploycompress.pruning.groups import Group, Grouping
from deploycompress.pruning.labels import Array
from deploycompress.pruning.removal import Kept, masks


@dataclass(frozen=True, eq=False)
class Work:
    """How the work of the nodes depends on what is gone.

    Attributes:
        groups: Whose units may go.
        nodes: Name of the first output of each node, in order of the graph.
        shares: Share of a length that one unit of a group takes [lengths, groups]; the last row is zero.
        factors: Rows of `shares` whose lengths multiply to the work of a node [nodes, most].
    """

    groups: tuple[Group, ...]
    nodes: tuple[str, ...]
    shares: Floats
    factors: Array

    def left(self, gone: Floats) -> Floats:
        """Share of its work that each node still has [nodes], with `gone` [groups] units gone."""
        return np.asarray(np.prod((1 - self.shares @ gone)[self.factors], axis=1))

    def along(self, gone: Floats, group: int, counts: NDArray[np.int64]) -> Floats:
        """The same [nodes, counts], with each of `counts` units of one group gone instead."""
        lengths = (1 - self.shares @ gone)[:, None] - self.shares[:, group, None] * (counts - gone[group])
        return np.asarray(np.prod(lengths[self.factors], axis=1))


@dataclass(frozen=True, eq=False)
class Bill:
    """What a run costs: a fixed part and, for each node, a part in proportion to the work it still has.

    Attributes:
        work: The work of the nodes.
        fixed: What no removal saves.
        rates: What each node costs with all its work.
        unit: Of the cost, as in "multiplications".
    """

    work: Work
    fixed: float
    rates: Floats
    unit: str

    def total(self, gone: Floats) -> float:
        """The cost with `gone` [groups] units gone."""
        return self.fixed + float(self.rates @ self.work.left(gone))

    def along(self, gone: Floats, group: int, counts: NDArray[np.int64]) -> Floats:
        """The cost with each of `counts` units of one group gone instead [counts]."""
        return self.fixed + np.asarray(self.rates @ self.work.along(gone, group, counts))


def work(grouping: Grouping, groups: Sequence[Group]) -> Work:
    """How the work of every node of the grouped model depends on the units of `groups`."""
    cuts = [masks(grouping, {group: np.zeros(1, np.int64)}) for group in groups]
    rows: dict[tuple[float, ...], int] = {}
    nodes, factors = [], []
    for node in grouping.model.graph:
        lengths = (tuple(_taken(cut, name, axis) for cut in cuts) for name, axis in _lengths(node, cuts))
        found = [rows.setdefault(length, len(rows)) for length in lengths if any(length)]
        nodes.append(node.outputs[0].name or "")
        factors.append(found)
    most = max([1, *map(len, factors)])
    padded = [[*found, *[len(rows)] * (most - len(found))] for found in factors]
    shares = np.asarray([*rows, (0.0,) * len(groups)], np.float64).reshape(len(rows) + 1, len(groups))
    return Work(tuple(groups), tuple(nodes), shares, np.asarray(padded, np.int64))


def _taken(cut: Mapping[str, tuple[Kept, ...]], name: str, axis: int) -> float:
    return 1 - float(cut[name][axis].mean()) if name in cut else 0.0


def _lengths(node: ir.Node, cuts: Sequence[Mapping[str, tuple[Kept, ...]]]) -> list[tuple[str, int]]:
    """The axes, by name of a value, whose lengths multiply to the work of `node`."""
    output = node.outputs[0].name or ""
    rank = next((len(cut[output]) for cut in cuts if output in cut), 0)
    found = [(output, axis) for axis in range(rank)]
    weight, source = g.input_at(node, 1), g.input_at(node, 0)
    if g.is_op(node, "ConvTranspose") and weight is not None:
        return [(weight.name or "", 0), (weight.name or "", 1)]
    if g.is_op(node, "Conv") and weight is not None:
        found.append((weight.name or "", 1))
    elif g.is_op(node, "MatMul", "Gemm") and source is not None:
        found.append((source.name or "", 0 if g.int_attribute(node, "transA", 0) else -1))
    return found
