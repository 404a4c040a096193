"""axis -> a label for each of its indices, for operators that pick some: Slice, Gather, Split, Concat, Pad."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deploycompress.pruning import axes as ax
from deploycompress.pruning.axes import FIXED, Axis, Block, Factor, Layout, Pick
from deploycompress.pruning.labels import Array, Labels

_WHY = "indexed beside another factor of its block or axis"


def elements(layout: Layout, axis: int, labels: Labels) -> tuple[Layout, Array | None]:
    """A label for each index of an axis, or None where all of it is fixed.

    Where several may be cut, only the innermost stays so; one whose block has a dimension on another axis does not. The
    layout comes back with what had to be fixed.
    """
    for name in ax.names(layout.axes[axis]):
        block = next((block for block in layout.blocks if name in block.names), None)
        if block is not None and (len(block.names) > 1 or len(ax.names(layout.axes[axis])) > 1):
            layout = ax.fix(layout, name, _WHY, labels)
    named = ax.names(layout.axes[axis])
    if not named:
        return layout, None
    shape = tuple(factor.length for factor in layout.axes[axis])
    own = tuple(1 if factor.name == FIXED else factor.length for factor in layout.axes[axis])
    return layout, np.broadcast_to(layout.block(named[0]).labels.reshape(own), shape).ravel()


def with_axis(layout: Layout, axis: int, found: Array, labels: Labels) -> Layout:
    """The value with these labels along one axis; a single one cannot go, since nothing would be left."""
    new: Axis = ()
    blocks: tuple[Block, ...] = ()
    if len(found) == 1:
        labels.freeze(found, "picked alone from its axis")
    else:
        name = labels.name()
        new, blocks = (Factor(len(found), name),), (Block(found, (name,)),)
    parts: list[Axis | Pick] = list(ax.picks(layout))
    parts[axis] = ax.fixed_axis(len(found), "")
    rest = ax.assembled(parts, labels)
    return Layout((*rest.axes[:axis], new, *rest.axes[axis + 1 :]), (*rest.blocks, *blocks))


def take(layout: Layout, axis: int, indices: Array, labels: Labels) -> Layout:
    """The value with these indices of one axis, in this order."""
    factors = layout.axes[axis]
    if ax.is_fixed(factors):
        why = factors[0].why if factors else ""
        return Layout((*layout.axes[:axis], ax.fixed_axis(len(indices), why), *layout.axes[axis + 1 :]), layout.blocks)
    if len(factors) == 1 and len(layout.block(factors[0].name).names) > 1:
        return _taken_from_block(layout, axis, indices, labels)
    layout, found = elements(layout, axis, labels)
    return take(layout, axis, indices, labels) if found is None else with_axis(layout, axis, found[indices], labels)


def _taken_from_block(layout: Layout, axis: int, indices: Array, labels: Labels) -> Layout:
    """`take` along one dimension of a larger block, whose other dimensions are other axes: q, k or v of one tensor."""
    name = layout.axes[axis][0].name
    block = layout.block(name)
    dim = block.names.index(name)
    taken = np.take(block.labels, indices, axis=dim)
    new = Block(labels.grid(taken), block.names)
    factors: Axis = (Factor(len(indices), name),)
    if len(indices) == 1:
        new = Block(labels.grid(taken.squeeze(dim)), (*block.names[:dim], *block.names[dim + 1 :]))
        factors = ()
    blocks = tuple(new if other is block else other for other in layout.blocks)
    return Layout((*layout.axes[:axis], factors, *layout.axes[axis + 1 :]), blocks)


def chained(layouts: Sequence[Layout], axis: int, labels: Labels) -> Array | None:
    """Labels along one axis of values that are joined end to end; None where all of it is fixed.

    What is fixed gets labels that are frozen for its reason.
    """
    if all(ax.is_fixed(layout.axes[axis]) for layout in layouts):
        return None
    parts = []
    for layout in layouts:
        found = elements(layout, axis, labels)[1]
        if found is None:
            found = labels.fresh(ax.length(layout.axes[axis]))
            factors = layout.axes[axis]
            labels.freeze(found, factors[0].why if factors else "joined with what must stay")
        parts.append(found)
    return np.concatenate(parts)
