"""class scores and class numbers -> F1 and Matthews' correlation.

F1 = 2 TP / (2 TP + FP + FN): of class 1 (binary), or the mean over the classes that occur as label or prediction
(macro). MCC = (c s - sum p_k t_k) / sqrt((s^2 - sum p_k^2) (s^2 - sum t_k^2)), c right of s samples, class k predicted
p_k times and true t_k times. Where a denominator is zero, the value is 0.

Source: van Rijsbergen, "Information Retrieval", 1979, chapter 7; Matthews, 1975; Gorodkin, "Comparing two K-category
assignments by a K-category correlation coefficient", 2004. The conventions are scikit-learn's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deploycompress.errors import UnsupportedError
from deploycompress.measurement.metrics.classes import class_numbers, decisions, hits, recall_by_class
from deploycompress.measurement.metrics.metric import Array, Floats, Label, Metric


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.zeros_like(above, dtype=np.float64), where=below > 0)


def _counts(table: Array, weights: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Classes, and [draws, classes] of each: right predictions, predictions, labels."""
    classes = np.unique(table)
    classes = classes[classes >= 0]  # -1 stands for no prediction
    true, predicted = (table[:, column, None] == classes for column in (0, 1))
    return classes, weights @ (true & predicted), weights @ predicted, weights @ true


def _macro(table: Array, weights: Floats) -> Floats:
    _, right, predicted, true = _counts(table, weights)
    occurs = (predicted + true > 0).sum(axis=1)
    return np.asarray(_ratio(2 * right, predicted + true).sum(axis=1) / occurs)


def _binary(table: Array, weights: Floats) -> Floats:
    true, predicted = table[:, 0] == 1, table[:, 1] == 1
    return _ratio(2 * (weights @ (true & predicted)), weights @ true + weights @ predicted)


def _f1_by_class(table: Array) -> dict[int, float]:
    classes, right, predicted, true = _counts(table, np.ones((1, len(table))))
    return {int(c): float(value) for c, value in zip(classes, _ratio(2 * right, predicted + true)[0], strict=True)}


def _matthews(table: Array, weights: Floats) -> Floats:
    _, right, predicted, true = _counts(table, weights)
    count = weights.sum(axis=1)
    covariance = right.sum(axis=1) * count - (predicted * true).sum(axis=1)
    spreads = [count**2 - (marginal**2).sum(axis=1) for marginal in (predicted, true)]
    # Sums of float64 products of counts are exact up to 2^53, so a spread of zero is exactly zero.
    norm = np.sqrt(np.maximum(spreads[0], 0)) * np.sqrt(np.maximum(spreads[1], 0))
    return np.asarray(np.divide(covariance, norm, out=np.zeros_like(covariance), where=norm > 0))


def _two_classes(output: Array, labels: Sequence[Label]) -> Floats:
    if (output.ndim == 2 and output.shape[1] != 2) or class_numbers(labels, F1.name).max() > 1:
        raise UnsupportedError("f1 is that of class 1 of two, and there are more classes; use f1-macro")
    return decisions(output, labels, F1.name)


F1 = Metric("f1", _two_classes, _binary, per_class=_f1_by_class, right=hits)
F1_MACRO = Metric(
    "f1-macro",
    lambda output, labels: decisions(output, labels, "f1-macro"),
    _macro,
    per_class=_f1_by_class,
    right=hits,
)
MATTHEWS = Metric(
    "matthews",
    lambda output, labels: decisions(output, labels, "matthews"),
    _matthews,
    unit="",
    per_class=recall_by_class,
    right=hits,
)
