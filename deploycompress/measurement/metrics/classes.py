"""class scores and class numbers -> top-1 and top-5: the share of samples whose label is the largest, or among five.

A sample whose scores hold a NaN is wrong; among equal scores the first class wins, as arg-max has it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deploycompress.errors import DataRejectedError, UnsupportedError
from deploycompress.measurement.metrics.metric import Array, Bools, Floats, Label, Metric, mean

NO_CLASS = -1
LEAST_CLASSES_FOR_TOP5 = 10


def decisions(output: Array, labels: Sequence[Label], metric: str) -> Floats:
    """[samples, 2]: label and predicted class, which is -1 where a score is NaN.

    Args:
        output: Scores [samples, classes], or predicted class numbers [samples].
        labels: [samples] class numbers.
        metric: Name for messages.

    Raises:
        UnsupportedError: The output is neither scores nor class numbers, or a label is no class number.
        DataRejectedError: A label is no class of the model.
    """
    wanted = class_numbers(labels, metric)
    if output.ndim == 1 and output.dtype.kind in "iu" and len(output) == len(wanted):
        return np.stack([wanted, output], axis=1).astype(np.float64)
    scores = _scores(output, wanted, metric)
    predicted = np.where(np.isnan(scores).any(axis=1), NO_CLASS, scores.argmax(axis=1))
    return np.stack([wanted, predicted], axis=1).astype(np.float64)


def class_numbers(labels: Sequence[Label], metric: str) -> NDArray[np.int64]:
    """[samples] class numbers.

    Raises:
        UnsupportedError: A label is none.
    """
    found = []
    for label in labels:
        if isinstance(label, int | float) and float(label).is_integer():
            found.append(int(label))
            continue
        said = f"an array {list(label.shape)}" if isinstance(label, np.ndarray) else repr(label)
        raise UnsupportedError(f"{metric} needs a class number for every sample, and one has the label {said}")
    return np.array(found, dtype=np.int64)


def hits(table: Array) -> Bools:
    """[samples] whether the predicted class is the label."""
    return np.asarray(table[:, 0] == table[:, 1])


def _scores(output: Array, wanted: NDArray[np.int64], metric: str) -> Floats:
    if output.ndim != 2 or len(output) != len(wanted) or output.shape[1] < 2 or output.dtype.kind not in "fiu":
        raise UnsupportedError(
            f"{metric} needs scores [samples, classes], and the output is {output.dtype}{list(output.shape)}"
        )
    classes = output.shape[1]
    for label in (wanted.min(), wanted.max()):
        if not 0 <= label < classes:
            raise DataRejectedError(
                f"label {label} is no class of the model, which has {classes} (0 to {classes - 1})",
                remedy="check the labels, in particular whether they count from 1",
            )
    return output.astype(np.float64)


def _share_right(table: Array, weights: Floats) -> Floats:
    return np.asarray(weights @ hits(table) / weights.sum(axis=1))


def recall_by_class(table: Array) -> dict[int, float]:
    """Share of the samples of each class that are predicted as it."""
    right = hits(table)
    return {int(label): float(right[table[:, 0] == label].mean()) for label in np.unique(table[:, 0])}


def most_frequent(table: Array) -> tuple[int, float]:
    """The class with the most samples, and its share of them."""
    labels, counts = np.unique(table[:, 0], return_counts=True)
    return int(labels[counts.argmax()]), float(counts.max() / counts.sum())


def _among_five(output: Array, labels: Sequence[Label]) -> Floats:
    wanted = class_numbers(labels, TOP5.name)
    scores = _scores(output, wanted, TOP5.name)
    if scores.shape[1] < LEAST_CLASSES_FOR_TOP5:
        raise UnsupportedError(f"{TOP5.name} says nothing of {scores.shape[1]} classes; it needs ten or more")
    five = np.argsort(-scores, axis=1, kind="stable")[:, :5]
    among = (five == wanted[:, None]).any(axis=1) & ~np.isnan(scores).any(axis=1)
    return np.asarray(among[:, None], dtype=np.float64)


TOP1 = Metric(
    "top-1",
    lambda output, labels: decisions(output, labels, "top-1"),
    _share_right,
    per_class=recall_by_class,
    right=hits,
    is_share=True,
)
TOP5 = Metric("top-5", _among_five, mean, right=lambda table: table[:, 0] > 0, is_share=True)
