"""outputs and labels of a batch -> a table with a row a sample; table and weights -> the metric.

What a metric needs of a sample fits into a few numbers, so that any number of samples is kept, and a bootstrap draw is
nothing but other weights: `value` with weights 1 is the metric, with the counts of a draw its value in that draw.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploycompress.errors import UnsupportedError
from deploycompress.records.measured import Unit

Array = NDArray[Any]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Label = int | float | Array | None


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: As the user writes it.
        table: Output of a batch [samples, ...] and its labels to [samples, columns]; raises UnsupportedError where they
            are not of its kind.
        value: Table [samples, columns] and weights [draws, samples] to [draws].
        unit: "%" for a share of 1, "dB", or "" for a plain number.
        higher_is_better: False for a loss.
        per_class: Table to value by class; None where there are no classes.
        right: Table to [samples] right or wrong; None where samples are neither. The columns are then (label, predicted
            class), unless the value is the share of right samples.
        is_share: Whether the value is the share of right samples.
        draws: Bootstrap draws that its cost allows.
    """

    name: str
    table: Callable[[Array, Sequence[Label]], Array]
    value: Callable[[Array, Floats], Floats]
    unit: Unit = "%"
    higher_is_better: bool = True
    per_class: Callable[[Array], Mapping[int, float]] | None = None
    right: Callable[[Array], Bools] | None = None
    is_share: bool = False
    draws: int = 2000

    def of(self, table: Array) -> float:
        """The value over all samples of the table."""
        return float(self.value(table, np.ones((1, len(table))))[0])


def mean(table: Array, weights: Floats) -> Floats:
    """Weighted mean of the first column."""
    return np.asarray(weights @ table[:, 0] / weights.sum(axis=1))


def numbers(labels: Sequence[Label], metric: str) -> Floats:
    """[samples] labels that are one number each.

    Raises:
        UnsupportedError: One is none.
    """
    for label in labels:
        if label is None or np.ndim(label) != 0:
            said = "one sample has none" if label is None else f"one is an array {list(np.shape(label))}"
            raise UnsupportedError(f"{metric} needs a number as the label of every sample, and {said}")
    return np.array(labels, dtype=np.float64)


def finite(output: Array, metric: str) -> Floats:
    """The output in float64.

    Raises:
        UnsupportedError: It holds no numbers, or a NaN or infinity.
    """
    if output.dtype.kind not in "fiub":
        raise UnsupportedError(f"{metric} needs numbers, and the output is {output.dtype}")
    values = output.astype(np.float64)
    if not np.isfinite(values).all():
        raise UnsupportedError(f"{metric} cannot be computed: the output holds a NaN or infinity")
    return values
