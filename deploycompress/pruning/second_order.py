"""group, Gram matrices -> the units whose removal, after repair, changes the next layers' outputs least.

A layer computes Y = X W. Without the rows S of W, and with the others moved to where least squares wants them, the
squared error of Y is

    e(S) = trace(W_S^T ((H^-1)_SS)^-1 W_S),    H = X^T X + damping

The unit with the smallest sum of e over the layers that read it goes, W and H^-1 are updated as if it never was,

    W <- W - H^-1_:S ((H^-1)_SS)^-1 W_S,    H^-1 <- H^-1 - H^-1_:S ((H^-1)_SS)^-1 H^-1_S:

and the next one is looked for: units that stand in for one another do not go together. Each layer's error counts as a
share of its output's energy. O(features^2 x units removed).

Source: Kurtic, Frantar and Alistarh, "ZipLM", NeurIPS 2023 (arXiv:2302.04089), section 3.1; Hassibi and Stork 1993.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from deploycompress.calibration import LayerInput
from deploycompress.calibration.gram import Gram
from deploycompress.pruning.consumers import Consumer, Matrix
from deploycompress.pruning.labels import Array

DAMPING = 1e-3  # of the mean of the diagonal: products of few samples are singular


class _Layer:
    """One consumer while units are taken out of it."""

    def __init__(self, consumer: Consumer, gram: Gram, units: int) -> None:
        products = gram.products[0]
        mean = max(float(np.diagonal(products).mean()), float(np.finfo(np.float64).tiny))
        damped = products + DAMPING * mean * np.eye(len(products))
        self._weight = consumer.matrix
        self._inverse: Matrix = np.linalg.inv(damped)
        self._energy = float(np.einsum("kn,kl,ln->", self._weight, damped, self._weight, optimize=True)) or 1.0
        order = np.argsort(consumer.units, kind="stable")
        order = order[consumer.units[order] >= 0]
        self._rows: Array = order.reshape(units, -1)

    def errors(self, left: Array) -> Matrix:
        """The share of the output's energy that removing each of the units `left` costs."""
        rows = self._rows[left]
        blocks = self._inverse[rows[:, :, None], rows[:, None, :]]
        weights = self._weight[rows]
        costs = np.einsum("usn,usn->u", weights, np.linalg.solve(blocks, weights))
        return np.asarray(costs / self._energy)

    def remove(self, unit: int) -> None:
        rows = self._rows[unit]
        columns = self._inverse[:, rows]
        block = np.linalg.inv(self._inverse[np.ix_(rows, rows)])
        self._weight = self._weight - columns @ (block @ self._weight[rows])
        self._inverse = self._inverse - columns @ block @ columns.T


def least(consumers: Sequence[Consumer], grams: Mapping[LayerInput, Gram], units: int, count: int) -> Array:
    """The numbers of `count` units of a group of `units`, in the order in which they go."""
    layers = [_Layer(consumer, grams[consumer.rows], units) for consumer in consumers]
    left, gone = np.arange(units), []
    for _ in range(count):
        errors = sum((layer.errors(left) for layer in layers), np.zeros(len(left)))
        unit = int(left[np.argmin(errors)])
        gone.append(unit)
        left = left[left != unit]
        for layer in layers:
            layer.remove(unit)
    return np.asarray(gone, np.int64)
