"""axis -> an ordered product of factors: batch x heads x head size. What may be cut keeps its identity through views.

A layout says for every axis of a value which factors it is made of, outermost first. A factor is fixed (batch, image
rows, whatever must stay), with the reason, or has a name and is one dimension of a block of labels (see `labels`):
index i of it can go where every label of the i-th slice of the block goes. The output of a linear layer has a block of
one dimension. A Reshape of 384 to 12 x 32 gives that block two, one of 12 x 32 to 384 makes it one again; with a batch
in between, as in [N * 12, S, 32], the factors still say what stands where.

Of a block of two dimensions whole rows or whole columns can go. Where an operator treats one dimension alone (a product
over it, a mean, a tie with a value that lacks the other) it is fixed, and the labels along it become one.

Lengths are integers: symbolic lengths stand as primes (see `lengths`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from operator import mul

import numpy as np

from deploycompress.pruning.labels import Array, Labels

FIXED = 0


@dataclass(frozen=True)
class Factor:
    """One factor of an axis: its length (more than 1), its name or `FIXED`, and why it is fixed."""

    length: int
    name: int = FIXED
    why: str = ""


@dataclass(frozen=True, eq=False)
class Block:
    """Labels with one named dimension for each factor that they cover."""

    labels: Array
    names: tuple[int, ...]


Axis = tuple[Factor, ...]


@dataclass(frozen=True, eq=False)
class Layout:
    """Factors of every axis of a value, and the blocks of those that are named."""

    axes: tuple[Axis, ...]
    blocks: tuple[Block, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        return tuple(length(axis) for axis in self.axes)

    def block(self, name: int) -> Block:
        """The block that has a dimension of this name."""
        return next(block for block in self.blocks if name in block.names)


def length(axis: Axis) -> int:
    """Length of an axis."""
    return math.prod(factor.length for factor in axis)


def names(axis: Axis) -> tuple[int, ...]:
    """Names of the factors that may be cut."""
    return tuple(factor.name for factor in axis if factor.name != FIXED)


def is_fixed(axis: Axis) -> bool:
    """Whether nothing of an axis can go."""
    return not names(axis)


def fixed_axis(length: int, why: str) -> Axis:
    """An axis that must stay."""
    return () if length == 1 else (Factor(length, why=why),)


def fixed(shape: Iterable[int], why: str) -> Layout:
    """A value that must stay as it is."""
    return Layout(tuple(fixed_axis(length, why) for length in shape))


def labelled(shape: Sequence[int], labels: Labels) -> Layout:
    """A weight: every index of every axis may go alone."""
    blocks = tuple(Block(labels.fresh(n), (labels.name(),)) for n in shape if n > 1)
    named = iter(blocks)
    return Layout(tuple(() if n == 1 else (Factor(n, next(named).names[0]),) for n in shape), blocks)


@dataclass(frozen=True, eq=False)
class Pick:
    """An axis of a layout."""

    layout: Layout
    axis: int


def picks(layout: Layout, *axes: int) -> list[Pick]:
    """These axes of `layout`; all of them where none are named."""
    return [Pick(layout, axis) for axis in axes or range(len(layout.axes))]


def assembled(parts: Sequence[Axis | Pick], labels: Labels) -> Layout:
    """A value made of axes of others; where a block is left without a dimension, its labels become one along it.

    Args:
        parts: Axes of other values, and fixed ones.
        labels: Where labels and their ties are kept.
    """
    chosen = [part for part in parts if isinstance(part, Pick)]
    renamed: dict[tuple[Layout, int], int] = {}
    blocks: list[Block] = []
    for source in dict.fromkeys(pick.layout for pick in chosen):
        used = {name for pick in chosen if pick.layout is source for name in names(source.axes[pick.axis])}
        for block in source.blocks:
            kept = _without(block, [name for name in block.names if name not in used], labels)
            if kept is not None:
                fresh = tuple(labels.name() for _ in kept.names)
                renamed |= {(source, name): new for name, new in zip(kept.names, fresh, strict=True)}
                blocks.append(Block(kept.labels, fresh))
    axes = [
        tuple(Factor(f.length, renamed.get((part.layout, f.name), FIXED), f.why) for f in part.layout.axes[part.axis])
        if isinstance(part, Pick)
        else part
        for part in parts
    ]
    return joined(Layout(tuple(axes), tuple(blocks)), labels)


def joined(layout: Layout, labels: Labels) -> Layout:
    """Neighbours that are both fixed, or dimensions of one block, become one factor."""
    made: list[Axis] = []
    for axis in layout.axes:
        factors: list[Factor] = []
        for factor in axis:
            last = factors[-1] if factors else None
            if last is None or (last.name == FIXED) != (factor.name == FIXED):
                factors.append(factor)
            elif factor.name == FIXED:
                factors[-1] = Factor(last.length * factor.length, why=last.why)
            elif (block := layout.block(last.name)) is layout.block(factor.name):
                merged = _merged(block, last.name, factor.name, labels)
                layout = Layout(layout.axes, tuple(merged if b is block else b for b in layout.blocks))
                factors[-1] = Factor(last.length * factor.length, last.name)
            else:
                factors.append(factor)
        made.append(tuple(factors))
    return Layout(tuple(made), layout.blocks)


def fix(layout: Layout, name: int, why: str, labels: Labels) -> Layout:
    """The factor of this name becomes fixed: what can go are whole slices along the rest of its block."""
    block = layout.block(name)
    if len(block.names) == 1:
        labels.freeze(block.labels, why)
    kept = _without(block, [name], labels)
    axes = tuple(tuple(Factor(f.length, why=why) if f.name == name else f for f in axis) for axis in layout.axes)
    blocks = (kept if other is block else other for other in layout.blocks)
    return joined(Layout(axes, tuple(block for block in blocks if block is not None)), labels)


def fix_axis(layout: Layout, axis: int, why: str, labels: Labels) -> Layout:
    """Everything of one axis becomes fixed."""
    while found := names(layout.axes[axis]):
        layout = fix(layout, found[0], why, labels)
    return layout


def split(layout: Layout, axis: int, parts: Sequence[int], labels: Labels) -> Layout | None:
    """The factors of one axis cut to the lengths `parts`; None where a part is not within one factor."""
    wanted = [part for part in parts if part != 1]
    pieces: list[Factor] = []
    for factor in layout.axes[axis]:
        lengths: list[int] = []
        while math.prod(lengths) < factor.length and wanted:
            lengths.append(wanted.pop(0))
        if math.prod(lengths) != factor.length:
            return None
        if factor.name == FIXED or len(lengths) == 1:
            pieces += [Factor(n, factor.name, factor.why) for n in lengths]
            continue
        old = layout.block(factor.name)
        fresh = tuple(labels.name() for _ in lengths)
        new = _cut(old, factor.name, lengths, fresh, labels)
        layout = Layout(layout.axes, tuple(new if block is old else block for block in layout.blocks))
        pieces += [Factor(n, name) for n, name in zip(lengths, fresh, strict=True)]
    return None if wanted else Layout((*layout.axes[:axis], tuple(pieces), *layout.axes[axis + 1 :]), layout.blocks)


def boundaries(lengths: Iterable[int]) -> set[int]:
    """Products of the first one, two, three ... lengths."""
    return set(accumulate(lengths, mul))


def between(cuts: Iterable[int]) -> list[int] | None:
    """The lengths whose products the `cuts` are, or None where one does not divide the next."""
    ordered = [1, *sorted(set(cuts) - {1})]
    pairs = list(pairwise(ordered))
    return None if any(high % low for low, high in pairs) else [high // low for low, high in pairs]


def _without(block: Block, gone: Sequence[int], labels: Labels) -> Block | None:
    """The block with the labels along each of these dimensions made one; None where no dimension is left."""
    if set(gone) == set(block.names):
        return None
    found, left = block.labels, list(block.names)
    for name in gone:
        dim = left.index(name)
        first = np.take(found, [0], axis=dim)
        labels.tie(found, first)
        found = first.squeeze(dim)
        left.remove(name)
    return block if len(left) == len(block.names) else Block(labels.grid(found), tuple(left))


def _merged(block: Block, outer: int, inner: int, labels: Labels) -> Block:
    """The block with dimensions `outer` and `inner` as one, called `outer`."""
    moved = np.moveaxis(block.labels, [block.names.index(outer), block.names.index(inner)], [0, 1])
    rest = tuple(name for name in block.names if name not in (outer, inner))
    return Block(labels.grid(moved.reshape(-1, *moved.shape[2:])), (outer, *rest))


def _cut(block: Block, name: int, lengths: Sequence[int], fresh: Sequence[int], labels: Labels) -> Block:
    """The block with dimension `name` cut to `lengths`, called `fresh`."""
    dim, shape = block.names.index(name), block.labels.shape
    cut = block.labels.reshape(*shape[:dim], *lengths, *shape[dim + 1 :])
    return Block(labels.grid(cut), (*block.names[:dim], *fresh, *block.names[dim + 1 :]))
