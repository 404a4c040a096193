"""group, Gram matrices -> an order in which units go, and the error of the next layers' outputs after each, repaired.

A layer computes Y = X W. Without the rows S of W, and with the others moved to where least squares wants them, the
squared error of Y is

    e(S) = trace(W_S^T ((H^-1)_SS)^-1 W_S),    H = X^T X + damping

The unit with the smallest sum of e over the layers that read it goes, W and H^-1 are updated as if it never was,

    W <- W - H^-1_:S ((H^-1)_SS)^-1 W_S,    H^-1 <- H^-1 - H^-1_:S ((H^-1)_SS)^-1 H^-1_S:

and the next one is looked for: units that stand in for one another do not go together. The errors of the steps add up
to that of all of them. Each layer's error counts as a share of its output's energy. O(features^2 x units).

Source: Kurtic, Frantar and Alistarh, "ZipLM", NeurIPS 2023 (arXiv:2302.04089), section 3.1; Hassibi and Stork 1993.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from deploycompress.calibration import LayerInput
from deploycompress.calibration.gram import Gram
from deploycompress.pruning.consumers import Consumer, Matrix
from deploycompress.pruning.curves import Curve
from deploycompress.pruning.labels import Array

DAMPING = 1e-3  # of the mean of the diagonal: products of few samples are singular
_STEPS = 128  # of a group with more units, so many at a time go


class _Layer:
    """One consumer while units are taken out of it; rows of units that went are dropped."""

    def __init__(self, consumer: Consumer, gram: Gram, units: int) -> None:
        products = gram.products[0]
        mean = max(float(np.diagonal(products).mean()), float(np.finfo(np.float64).tiny))
        damped = products + DAMPING * mean * np.eye(len(products))
        self._weight = consumer.matrix
        self._inverse: Matrix = np.linalg.inv(damped)
        self._energy = float(np.einsum("kn,kn->", self._weight, damped @ self._weight)) or 1.0
        order = np.argsort(consumer.units, kind="stable")
        order = order[consumer.units[order] >= 0]
        self._rows: Array = order.reshape(units, -1)

    def errors(self) -> Matrix:
        """The share of the output's energy that removing each of the units left costs."""
        blocks = self._inverse[self._rows[:, :, None], self._rows[:, None, :]]
        weights = self._weight[self._rows]
        costs = np.einsum("usn,usn->u", weights, np.linalg.solve(blocks, weights))
        return np.asarray(costs / self._energy)

    def remove(self, positions: Array) -> float:
        """Takes out the units at these positions among those left; what that costs."""
        rows = self._rows[positions].ravel()
        columns, weights = self._inverse[:, rows], self._weight[rows]
        block = np.linalg.inv(self._inverse[np.ix_(rows, rows)])
        moved = block @ weights
        stay = np.ones(len(self._inverse), bool)
        stay[rows] = False
        self._weight = self._weight[stay] - columns[stay] @ moved
        self._inverse = self._inverse[np.ix_(stay, stay)] - columns[stay] @ block @ columns[stay].T
        place = np.cumsum(stay) - 1
        self._rows = place[np.delete(self._rows, positions, axis=0)]
        return float(np.einsum("sn,sn->", weights, moved)) / self._energy


def curve(
    consumers: Sequence[Consumer], grams: Mapping[LayerInput, Gram], units: int, order: Array | None = None
) -> Curve:
    """The order in which the units of a group go, all of them but one, and the errors.

    Args:
        consumers: The layers that read the units, each of them as many times.
        grams: Second moments of what these layers read.
        units: How many there are.
        order: Where given, the order in which they go whatever it costs.
    """
    layers = [_Layer(consumer, grams[consumer.rows], units) for consumer in consumers]
    left, gone, errors = np.arange(units), list[int](), [0.0]
    at_a_time = max(1, units // _STEPS)
    while len(left) > 1:
        count = min(at_a_time, len(left) - 1)
        if order is None:
            costs = sum((layer.errors() for layer in layers), np.zeros(len(left)))
            positions = np.argsort(costs, kind="stable")[:count]
        else:
            positions = np.flatnonzero(np.isin(left, order[len(gone) : len(gone) + count]))
        step = sum(layer.remove(positions) for layer in layers)
        errors += [errors[-1] + step * (n + 1) / count for n in range(count)]
        gone += left[positions].tolist()
        left = np.delete(left, positions)
    return Curve(np.asarray(gone, np.int64), np.asarray(errors))
