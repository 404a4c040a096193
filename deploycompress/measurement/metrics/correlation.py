"""predicted and true numbers -> their correlation, Pearson's or Spearman's.

Pearson: cov(x, y) / sqrt(var x var y). Spearman: the same of the ranks, equal values sharing their mean rank. Where one
side is constant there is nothing to correlate, and the value is 0: a collapsed model predicts nothing.

Source: Pearson, 1895; Spearman, "The proof and measurement of association between two things", 1904.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deploycompress.errors import UnsupportedError
from deploycompress.measurement.metrics.metric import Array, Floats, Label, Metric, finite, numbers


def _predictions(output: Array, labels: Sequence[Label], metric: str) -> Floats:
    """[samples, 2]: predicted and true number."""
    wanted = numbers(labels, metric)
    if output.size != len(wanted) or output.ndim not in (1, 2):
        raise UnsupportedError(
            f"{metric} needs one number a sample, and the output is {output.dtype}{list(output.shape)}"
        )
    return np.stack([finite(output, metric).ravel(), wanted], axis=1)


def _pearson(table: Array, weights: Floats) -> Floats:
    x, y = (table - table[0]).T  # a constant becomes exactly 0, and so does its spread
    x, y = x - x.mean(), y - y.mean()  # what is left for the sums to cancel is the difference of a draw to the whole
    total = weights.sum(axis=1)
    x_mean, y_mean, xx, yy, xy = (weights @ np.stack([x, y, x * x, y * y, x * y], axis=1) / total[:, None]).T
    return _ratio(xy - x_mean * y_mean, (xx - x_mean**2) * (yy - y_mean**2))


def _spearman(table: Array, weights: Floats) -> Floats:
    x, y = (_ranks(table[:, column], weights) for column in (0, 1))
    total = weights.sum(axis=1, keepdims=True)
    x, y = (ranks - (weights * ranks).sum(axis=1, keepdims=True) / total for ranks in (x, y))
    covariance, x_spread, y_spread = ((weights * product).sum(axis=1) for product in (x * y, x * x, y * y))
    return _ratio(covariance, x_spread * y_spread)


def _ratio(covariance: Floats, spreads: Floats) -> Floats:
    norm = np.sqrt(np.maximum(spreads, 0))
    return np.asarray(np.divide(covariance, norm, out=np.zeros_like(norm), where=norm > 0))


def _ranks(values: Floats, weights: Floats) -> Floats:
    """[draws, samples] mean rank of each value in a draw that holds it `weights` times, less one half."""
    _, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    in_group = np.add.reduceat(weights[:, order], starts, axis=1)
    return np.asarray((in_group.cumsum(axis=1) - in_group / 2)[:, group])


PEARSON = Metric("pearson", lambda output, labels: _predictions(output, labels, "pearson"), _pearson, unit="")
SPEARMAN = Metric(
    "spearman", lambda output, labels: _predictions(output, labels, "spearman"), _spearman, unit="", draws=1000
)
