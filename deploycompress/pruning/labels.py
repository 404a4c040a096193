"""pairs of labels that must go together -> the classes they form: union-find over arrays.

Every index of every prunable axis has a label, an integer. Operators tie labels, and freeze those whose index must
stay. Ties are kept as arrays; classes are found once, by hooking every root onto the lowest root beside it and halving
paths, a few sweeps over all ties (Shiloach and Vishkin, "An O(log n) parallel connectivity algorithm", 1982).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.int64]


class Labels:
    """Labels given out so far, their ties, and the reasons for which some are frozen."""

    def __init__(self) -> None:
        self._count = self._names = 0
        self._ties: list[tuple[Array, Array]] = []
        self.frozen: list[tuple[Array, str]] = []
        self.grids: list[Array] = []

    def fresh(self, *shape: int) -> Array:
        """New labels in an array of this shape."""
        first, self._count = self._count, self._count + math.prod(shape)
        return np.arange(first, self._count).reshape(shape)

    def name(self) -> int:
        """A new name for a factor of an axis, above 0."""
        self._names += 1
        return self._names

    def tie(self, a: Array, b: Array) -> None:
        """Makes each of `a` go together with its neighbour in `b`; the shapes broadcast."""
        left, right = np.broadcast_arrays(a, b)
        self._ties.append((left.ravel(), right.ravel()))

    def freeze(self, labels: Array, why: str) -> None:
        """Makes all of `labels` stay; `why` is a clause without a subject or a full stop."""
        self.frozen.append((labels.ravel(), why))

    def grid(self, labels: Array) -> Array:
        """Notes that these labels lie along two axes or more, so that what goes must be whole rows or columns."""
        if labels.ndim > 1:
            self.grids.append(labels)
        return labels

    def roots(self) -> Array:
        """The lowest label of the class of each label."""
        none = np.zeros(0, np.int64)
        left, right = (np.concatenate([none, *(tie[side] for tie in self._ties)]) for side in (0, 1))
        return classes(self._count, left, right)


def classes(count: int, a: Array, b: Array) -> Array:
    """The lowest member of the class of each of `count` labels, where each of `a` is tied to its neighbour in `b`."""
    root = np.arange(count)
    while a.size:
        low, high = np.minimum(root[a], root[b]), np.maximum(root[a], root[b])
        open_ties = low != high
        a, b = a[open_ties], b[open_ties]
        np.minimum.at(root, high[open_ties], low[open_ties])
        while not np.array_equal(halved := root[root], root):
            root = halved
    return root
