"""axes of two values that an operator walks along together -> the factors of both cut alike, their labels tied.

384 beside 12 x 32 becomes 12 x 32. What is fixed in one is fixed in the other. Where a block of one meets factors that
are not all of one block in the other (heads x head size beside a scale for each place in a head), its inner dimensions
give way: whole heads are what is left.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deploycompress.pruning import axes as ax
from deploycompress.pruning.axes import FIXED, Block, Factor, Layout
from deploycompress.pruning.labels import Labels

_UNEVEN = "cut differently in the two values that meet here"

Pairs = Sequence[tuple[int, int]]


def tie(a: Layout, b: Layout, pairs: Pairs, labels: Labels) -> tuple[Layout, Layout]:
    """Both layouts with axes `pairs` (of a, of b) tied; an axis of length 1 broadcasts and ties nothing."""
    pairs = [(i, j) for i, j in pairs if a.axes[i] and b.axes[j]]
    for i, j in pairs:
        a, b = _cut_alike(a, b, i, j, labels)
    while True:
        met = [(f, h) for i, j in pairs for f, h in zip(a.axes[i], b.axes[j], strict=True)]
        one_sided = next(((f, h) for f, h in met if (f.name == FIXED) != (h.name == FIXED)), None)
        if one_sided is not None:
            left, right = one_sided
            if left.name == FIXED:
                b = ax.fix(b, right.name, left.why, labels)
            else:
                a = ax.fix(a, left.name, right.why, labels)
        else:
            both = [(f, h) for f, h in met if f.name != FIXED]
            odd = _odd_block(a, b, both)
            if odd is None:
                break
            side, name = odd
            why = "whole rows of the other factor go"
            a, b = (ax.fix(a, name, why, labels), b) if side is a else (a, ax.fix(b, name, why, labels))
        for i, j in pairs:  # fixing may have joined factors of one of the two
            a, b = _cut_alike(a, b, i, j, labels)
    _tie_blocks(a, b, both, labels)
    return a, b


def _cut_alike(a: Layout, b: Layout, i: int, j: int, labels: Labels) -> tuple[Layout, Layout]:
    """Both with the factors of these two axes cut to common lengths, or fixed where there are none."""
    cuts = ax.boundaries(f.length for f in a.axes[i]) | ax.boundaries(f.length for f in b.axes[j])
    parts = ax.between(cuts) if ax.length(a.axes[i]) == ax.length(b.axes[j]) else None
    left, right = (None, None) if parts is None else (ax.split(a, i, parts, labels), ax.split(b, j, parts, labels))
    if left is not None and right is not None:
        return left, right
    return ax.fix_axis(a, i, _UNEVEN, labels), ax.fix_axis(b, j, _UNEVEN, labels)


def _odd_block(a: Layout, b: Layout, met: Sequence[tuple[Factor, Factor]]) -> tuple[Layout, int] | None:
    """The side and the innermost name of a larger block that does not meet the whole of one block; None if all do."""
    forth = {f.name: h.name for f, h in met}
    back = {h.name: f.name for f, h in met}
    for side, other, partner in ((a, b, forth), (b, a, back)):
        for name in partner:
            block = side.block(name)
            if len(block.names) == 1:
                continue
            twins = {other.block(partner[n]) for n in block.names if n in partner}
            whole = all(n in partner for n in block.names)
            if not (whole and len(twins) == 1 and len(next(iter(twins)).names) == len(block.names)):
                return side, _innermost(side, block)
    return None


def _innermost(layout: Layout, block: Block) -> int:
    order = [name for axis in layout.axes for name in ax.names(axis) if name in block.names]
    return order[-1]


def _tie_blocks(a: Layout, b: Layout, met: Sequence[tuple[Factor, Factor]], labels: Labels) -> None:
    partner = {f.name: h.name for f, h in met}
    for block in dict.fromkeys(a.block(name) for name in partner):
        twin = b.block(partner[block.names[0]])
        order = [twin.names.index(partner[name]) for name in block.names]
        labels.tie(block.labels, np.transpose(twin.labels, order))
