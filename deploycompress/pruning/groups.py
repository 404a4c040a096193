"""model -> groups of interchangeable units (channels, heads, hidden features) and the weights each runs through.

A unit is a class of labels: what must go together. Units that run through the same weights along the same axes, as
often, form a group: the 1536 hidden features of one feed-forward block, the 12 heads of one attention, the 64 channels
of a residual stream with all that read and write it. What may not be cut is listed with every reason.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deploycompress.passes import graph as g
from deploycompress.pruning import lengths
from deploycompress.pruning.counted import freeze_counted
from deploycompress.pruning.labels import Array
from deploycompress.pruning.rules import RULES
from deploycompress.pruning.rules.products import SLIDES
from deploycompress.pruning.trace import Trace, walk

_ALONE = "there is only one of it"


@dataclass(frozen=True, eq=False)
class Member:
    """One axis of one weight that a group runs through.

    Attributes:
        weight: The initializer.
        axis: Which of its axes.
        units: For each index of the axis its unit, or -1 where it belongs to another group.
    """

    weight: ir.Value
    axis: int
    units: Array


@dataclass(frozen=True, eq=False)
class Group:
    """Units that may be removed one by one, or not at all.

    Attributes:
        name: The first weight they run through.
        roots: Class of labels of each unit.
        members: The axes of weights they run through, in order of the graph.
        is_averaged: Whether a normalization averages over it, and so over what is left.
        refusals: Why none of it may be removed; empty where it may.
    """

    name: str
    roots: Array
    members: tuple[Member, ...]
    is_averaged: bool
    refusals: tuple[str, ...]

    @property
    def units(self) -> int:
        """How many units there are."""
        return len(self.roots)

    @property
    def width(self) -> int:
        """Indices of the first member that one unit takes."""
        first = self.members[0].units
        return int((first >= 0).sum()) // self.units


@dataclass(frozen=True, eq=False)
class Grouping:
    """What may be removed from a model, and what may not.

    Attributes:
        model: The graph that was looked at.
        trace: How each of its values is laid out.
        roots: Class of each label.
        groups: Those that may be cut.
        refused: Those that may not.
    """

    model: ir.Model
    trace: Trace
    roots: Array
    groups: tuple[Group, ...]
    refused: tuple[Group, ...]


def find(model: ir.Model) -> Grouping:
    """Finds every group of `model`; weights must be initializers and producers come before users."""
    trace = walk(model, lengths.shapes(model), RULES)
    freeze_counted(model, trace)
    roots = _resolved(trace)
    reasons: dict[int, set[str]] = defaultdict(set)
    for labels, why in trace.labels.frozen:
        for root in np.unique(roots[labels]):
            reasons[int(root)].add(why)
    sites = [
        (value, axis, roots[layout.blocks[n].labels])
        for value, layout in trace.layouts.items()
        if g.constant(value) is not None
        for n, axis in enumerate(axis for axis, factors in enumerate(layout.axes) if factors)
        if layout.blocks
    ]
    found = _grouped(sites, frozenset(reasons), len(roots))
    averaged = np.unique(roots[np.concatenate([np.zeros(0, np.int64), *trace.averaged])])
    groups = [
        Group(
            name=str(members[0].weight.name),
            roots=units,
            members=members,
            is_averaged=bool(np.isin(units, averaged).any()),
            refusals=tuple(sorted(set().union(*(reasons.get(int(unit), set()) for unit in units)))),
        )
        for units, members in found
    ]
    groups = [group for group in groups if group.refusals != (SLIDES,)]  # the axes of a kernel are no channels
    groups = [group if group.refusals or group.units > 1 else _alone(group) for group in groups]
    return Grouping(
        model,
        trace,
        roots,
        tuple(group for group in groups if not group.refusals),
        tuple(group for group in groups if group.refusals),
    )


def _alone(group: Group) -> Group:
    return Group(group.name, group.roots, group.members, group.is_averaged, (_ALONE,))


def _resolved(trace: Trace) -> Array:
    """Classes of labels, where of every block with several dimensions only whole slices along one of them differ."""
    roots = trace.labels.roots()
    for grid in trace.labels.grids:
        found = roots[grid]
        slices = [np.moveaxis(found, dim, 0).reshape(found.shape[dim], -1) for dim in range(found.ndim)]
        if any(bool((rows == rows[:, :1]).all()) for rows in slices):
            continue
        labels = [np.moveaxis(grid, dim, 0).reshape(grid.shape[dim], -1) for dim in range(grid.ndim)]
        best = max(range(grid.ndim), key=lambda dim: _distinct(slices[dim]))
        trace.labels.tie(labels[best], labels[best][:, :1])
        roots = trace.labels.roots()
    return roots


def _distinct(rows: Array) -> int:
    """How many classes are left of the rows of an array of classes where each row becomes one."""
    classes = {int(root): int(root) for root in np.unique(rows)}
    for row in rows:
        met = {_top(classes, int(root)) for root in np.unique(row)}
        for root in met:
            classes[root] = min(met)
    return len({_top(classes, root) for root in classes})


def _top(classes: dict[int, int], root: int) -> int:
    while classes[root] != root:
        root = classes[root]
    return root


def _grouped(
    sites: list[tuple[ir.Value, int, Array]], frozen: frozenset[int], count: int
) -> list[tuple[Array, tuple[Member, ...]]]:
    """Roots that occur at the same sites equally often, with those sites, in order of the graph."""
    marks = np.random.default_rng(0).integers(1, 2**62, len(sites) + 1).astype(np.uint64)
    signature: NDArray[np.uint64] = np.zeros(count, np.uint64)
    for mark, (_, _, roots) in zip(marks, sites, strict=False):
        np.add.at(signature, roots, mark)
    signature[list(frozen)] += marks[-1]
    present = np.unique(np.concatenate([np.zeros(0, np.int64), *(roots for _, _, roots in sites)]))
    _, kind = np.unique(signature[present], return_inverse=True)
    kind_of, unit_of = np.full(count, -1), np.full(count, -1)
    units: dict[int, Array] = {}
    for number in range(int(kind.max(initial=-1)) + 1):
        units[number] = present[kind == number]
        kind_of[units[number]] = number
        unit_of[units[number]] = np.arange(len(units[number]))
    members: dict[int, list[Member]] = defaultdict(list)
    for value, axis, roots in sites:
        for number in dict.fromkeys(kind_of[roots].tolist()):
            members[number].append(Member(value, axis, np.where(kind_of[roots] == number, unit_of[roots], -1)))
    return [(units[number], tuple(found)) for number, found in members.items()]
