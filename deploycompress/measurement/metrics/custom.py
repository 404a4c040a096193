"""`module:function` or `file.py:function` -> a metric of the user's own.

The names of its two parameters say what it takes. `(output, label)`: one sample, without the batch axis; the metric is
the mean over the samples. `(outputs, labels)`: all samples stacked; the metric is what it returns. Larger is better
unless the function has an attribute `higher_is_better = False`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from deploycompress.errors import DeployCompressError, UnsupportedError, UsageError
from deploycompress.measurement.metrics.metric import Array, Floats, Label, Metric, mean
from deploycompress.records.reference import resolve

ONE, ALL = ("output", "label"), ("outputs", "labels")
_DRAWS_OF_ALL = 300


def custom(reference: str) -> Metric:
    """The metric that a reference names.

    Raises:
        UsageError: There is no such function, or its parameters are not (output, label) or (outputs, labels).
    """
    function = resolve(reference)
    if not callable(function):
        raise UsageError(f"it is a {type(function).__name__}, not a function", where=reference)
    names = tuple(inspect.signature(function).parameters)
    better = bool(getattr(function, "higher_is_better", True))
    if names == ONE:
        return Metric(
            reference,
            lambda output, labels: _of_each(function, reference, output, labels),
            mean,
            unit="",
            higher_is_better=better,
        )
    if names == ALL:
        return Metric(
            reference,
            lambda output, labels: _kept(output, labels, reference),
            lambda table, weights: _of_all(function, reference, table, weights),
            unit="",
            higher_is_better=better,
            draws=_DRAWS_OF_ALL,
        )
    raise UsageError(
        f"its parameters are ({', '.join(names)})",
        where=reference,
        remedy="name them (output, label) for one sample at a time, or (outputs, labels) for all at once",
    )


def _of_each(function: Callable[..., Any], reference: str, output: Array, labels: Sequence[Label]) -> Floats:
    _check(output, labels, reference)
    return np.array([[_number(function, reference, one, label)] for one, label in zip(output, labels, strict=True)])


def _kept(output: Array, labels: Sequence[Label], reference: str) -> Array:
    _check(output, labels, reference)
    table = np.empty((len(output), 2), dtype=object)
    for row, one, label in zip(table, output, labels, strict=True):
        row[0], row[1] = one, label
    return table


def _of_all(function: Callable[..., Any], reference: str, table: Array, weights: Floats) -> Floats:
    values = []
    for counts in weights:
        chosen = table[np.repeat(np.arange(len(table)), counts.astype(np.int64))]
        outputs, labels = (np.stack([np.asarray(item) for item in chosen[:, column]]) for column in (0, 1))
        values.append(_number(function, reference, outputs, labels))
    return np.array(values)


def _check(output: Array, labels: Sequence[Label], reference: str) -> None:
    if output.ndim == 0 or len(output) != len(labels):
        raise UnsupportedError(
            f"{reference} needs an output a sample, and the output is {output.dtype}{list(output.shape)}"
        )


def _number(function: Callable[..., Any], reference: str, *arguments: object) -> float:
    try:
        found = float(function(*arguments))
    except DeployCompressError:
        raise
    except Exception as error:
        raise UsageError(f"it raised {type(error).__name__}: {error}", where=reference) from error
    if not np.isfinite(found):
        raise UsageError(f"it returned {found}, which is no number to average", where=reference)
    return found
